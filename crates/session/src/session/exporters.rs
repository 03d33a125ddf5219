//! Exporters that the client picks once it knows the result.

use std::collections::BTreeMap;

use bytes::Bytes;
use errdefs::{Code, Result};
use proto::exporter::exporter_client::ExporterClient;
use proto::exporter::{FinalizeExportRequest, FindExportersRequest};

use super::{Session, none_if};
use crate::grpcerr;
use crate::offer::PickedExporter;

/// A client that offers none, or none for this build.
const NONE: [Code; 2] = [Code::Unimplemented, Code::Unavailable];

impl Session {
    /// The exporters that the client wants for a result: its metadata, and the refs that the client may look into.
    pub async fn find_exporters(
        &self,
        metadata: &BTreeMap<String, Bytes>,
        refs: Vec<String>,
    ) -> Result<Vec<PickedExporter>> {
        let mut client = proto::sized!(ExporterClient::new(self.channel()));
        let metadata = metadata.iter().map(|(key, value)| (key.clone(), value.to_vec())).collect();
        let answer = client.find_exporters(FindExportersRequest { metadata, refs }).await;
        let answer = none_if(answer.map_err(grpcerr::from_status), &NONE)?;
        let picked = answer.map(|answer| answer.into_inner().exporters).unwrap_or_default();
        Ok(picked.into_iter().map(|e| PickedExporter { kind: e.r#type, attrs: e.attrs }).collect())
    }

    /// Tells the client what all exporters answered. An error of it is one of the build.
    pub async fn finalize_export(&self, response: &BTreeMap<String, String>) -> Result<()> {
        let mut client = proto::sized!(ExporterClient::new(self.channel()));
        let answer =
            client.finalize_export(FinalizeExportRequest { exporter_response: response.clone() }).await;
        none_if(answer.map_err(grpcerr::from_status), &NONE).map(drop)
    }
}
