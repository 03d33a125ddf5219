use std::sync::Arc;

use proto::exporter::exporter_server::Exporter as ExporterService;
use proto::exporter::{
    ExporterRequest, FinalizeExportRequest, FinalizeExportResponse, FindExportersRequest,
    FindExportersResponse,
};
use tonic::{Request, Response, Status};

use crate::grpcerr;
use crate::offer::ExporterSource;

pub(super) struct Exporters(pub Arc<dyn ExporterSource>);

#[tonic::async_trait]
impl ExporterService for Exporters {
    async fn find_exporters(
        &self,
        request: Request<FindExportersRequest>,
    ) -> Result<Response<FindExportersResponse>, Status> {
        let FindExportersRequest { metadata, refs } = request.into_inner();
        let picked = self.0.exporters(metadata, refs).await.map_err(|e| grpcerr::to_status(&e))?;
        let exporters =
            picked.into_iter().map(|e| ExporterRequest { r#type: e.kind, attrs: e.attrs }).collect();
        Ok(Response::new(FindExportersResponse { exporters }))
    }

    async fn finalize_export(
        &self,
        request: Request<FinalizeExportRequest>,
    ) -> Result<Response<FinalizeExportResponse>, Status> {
        let told = self.0.exported(request.into_inner().exporter_response).await;
        told.map_err(|e| grpcerr::to_status(&e))?;
        Ok(Response::new(FinalizeExportResponse {}))
    }
}
