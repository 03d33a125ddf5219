//! The transport settings that every server and every channel needs. None of them is a matter of taste: without them
//! a large context or a long error ends the connection.

use tonic::transport::{Endpoint, Server};

/// Window of a connection, in bytes. h2 counts small DATA frames that wait against half of it and ends the
/// connection when that is used up, and a context of many small files is nothing but small frames. A wide window
/// also keeps streams that wait for each other from starving. Memory stays bounded by [`STREAM_WINDOW`].
pub const CONNECTION_WINDOW: u32 = 1 << 30;

/// Window of one stream, in bytes.
pub const STREAM_WINDOW: u32 = 4 << 20;

/// Limit on all headers of a message, in bytes. Error details and include patterns travel in headers; hyper's
/// default of 16 KiB loses them.
pub const HEADER_LIST: u32 = 16 << 20;

/// Limit on one message, in bytes, as BuildKit's. tonic's default is 4 MiB.
pub const MESSAGE: usize = 16 << 20;

/// A server with the settings of this module. Services are wrapped in [`sized`](crate::sized).
pub fn server() -> Server {
    Server::builder()
        .initial_connection_window_size(CONNECTION_WINDOW)
        .initial_stream_window_size(STREAM_WINDOW)
        .http2_max_header_list_size(HEADER_LIST)
}

/// The end of a channel with the settings of this module. Its authority is `localhost`: h2 takes no socket paths
/// there, and no peer looks at it. Clients are wrapped in [`sized`](crate::sized).
pub fn endpoint() -> Endpoint {
    apply(Endpoint::from_static("http://localhost"))
}

/// Puts the settings of this module on an endpoint with an address of its own.
pub fn apply(endpoint: Endpoint) -> Endpoint {
    endpoint
        .initial_connection_window_size(CONNECTION_WINDOW)
        .initial_stream_window_size(STREAM_WINDOW)
        .http2_max_header_list_size(HEADER_LIST)
}

/// Puts the message limits on a generated client or server: `sized!(ControlClient::new(channel))`.
#[macro_export]
macro_rules! sized {
    ($it:expr) => {
        $it.max_decoding_message_size($crate::transport::MESSAGE)
            .max_encoding_message_size($crate::transport::MESSAGE)
    };
}
