use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use super::{Image, Layout};

/// Who waits longer than this waits in vain.
const PATIENCE: Duration = Duration::from_secs(20);

/// A registry that has an image under any tag of the repository `base`, but never gives its layers. Whatever else it is
/// asked for it does not answer at all.
pub struct SilentRegistry {
    port: u16,
    asked: Receiver<()>,
    hung_up: Receiver<()>,
}

impl SilentRegistry {
    pub fn start(image: &Layout) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let ((ask, asked), (hang_up, hung_up)) = (channel(), channel());
        let answers = answers(image);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (answers, ask, hang_up) = (answers.clone(), ask.clone(), hang_up.clone());
                std::thread::spawn(move || answer(stream, &answers, &ask, &hang_up));
            }
        });
        SilentRegistry { port, asked, hung_up }
    }

    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Waits until somebody asks what is not answered.
    pub fn wait_until_asked(&self) {
        self.asked.recv_timeout(PATIENCE).expect("nobody asked");
    }

    /// Waits until who asked has closed the connection.
    pub fn wait_until_hung_up(&self) {
        self.hung_up.recv_timeout(PATIENCE).expect("who asked still waits for the answer");
    }
}

/// An end of a path, and what lies there.
type Answer = (String, &'static str, Vec<u8>);

fn answers(image: &Layout) -> Vec<Answer> {
    let read = |digest: &str| {
        let path: PathBuf = image.path().join("blobs").join(digest.replace(':', "/"));
        std::fs::read(path).expect("a blob")
    };
    let image = Image::read(image.path());
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = read(image.digest());
    vec![
        ("/v2/".into(), "application/json", b"{}".to_vec()),
        ("/base/manifests/latest".into(), kind, manifest.clone()),
        (format!("/base/manifests/{}", image.digest()), kind, manifest),
        (
            format!("/base/blobs/{}", image.config_digest()),
            "application/octet-stream",
            read(image.config_digest()),
        ),
    ]
}

fn answer(mut stream: TcpStream, answers: &[Answer], ask: &Sender<()>, hang_up: &Sender<()>) {
    let mut lines = BufReader::new(stream.try_clone().expect("a descriptor")).lines().map_while(Result::ok);
    let Some(request) = lines.next() else { return };
    lines.by_ref().find(String::is_empty);
    let mut words = request.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    match answers.iter().find(|(end, ..)| path.ends_with(end.as_str())) {
        Some((_, kind, body)) => {
            let head = format!(
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            let body = if method == "HEAD" { &[][..] } else { body };
            // Who asked may be gone.
            let _ = stream.write_all(&[head.as_bytes(), body].concat());
        }
        None => {
            // The test may be over.
            let _ = ask.send(());
            let _ = stream.read(&mut [0; 64]);
            let _ = hang_up.send(());
        }
    }
}
