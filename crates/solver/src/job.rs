//! One build's hold on the graph.

use std::sync::Arc;

use errdefs::Result;
use oci::Digest;
use tokio::sync::oneshot;

use crate::core::{Asker, JobId};
use crate::keys::KeyId;
use crate::op::{Domain, Op};
use crate::remote::RemoteCache;
use crate::scheduler::{Handle, Message};
use crate::show::JobView;
use crate::vertex::Edge;

/// What is known of one output of an active vertex.
#[derive(Debug, Clone)]
pub struct Lineage<V> {
    /// The output: its vertex, and its place among the outputs of that.
    pub vertex: Digest,
    pub output: usize,
    /// All keys that it is known by, also those of caches of others.
    pub keys: Vec<KeyId>,
    /// Positions in the list of the outputs that it is made from.
    pub inputs: Vec<usize>,
    pub value: Option<V>,
    /// [`VertexOptions::export_cache`](crate::VertexOptions).
    pub export_cache: Option<bool>,
}

/// One build. Vertices that it has asked for stay active, with their values, until it is dropped. Dropping it
/// withdraws what it still waits for and tells its sink that what had started is canceled.
#[must_use = "dropping a job releases all that it holds"]
pub struct Job<D: Domain> {
    pub(crate) id: String,
    pub(crate) job: JobId,
    pub(crate) view: Arc<JobView>,
    pub(crate) handle: Handle<D>,
}

impl<D: Domain> Job<D> {
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Computes an edge. Dropping the future withdraws the wish; what no other build wants is cancelled then.
    ///
    /// # Errors
    /// That of the vertex which failed, with [`errdefs::Detail::Vertex`] and shared by all that need it. Asking again
    /// tries again.
    pub async fn build(&self, edge: Edge<D>) -> Result<D::Value> {
        self.build_with(edge, Vec::new()).await
    }

    /// The same, with caches of others to be looked into for all of the graph. Vertices that are active already look into
    /// them too, as far as they have not found their way yet.
    pub async fn build_with(&self, edge: Edge<D>, caches: Vec<Arc<dyn RemoteCache<D>>>) -> Result<D::Value> {
        self.handle.build(Asker::Job(self.job), edge, caches).await
    }

    /// What is known of an edge that this job has built and of all below it, inputs before what uses them; the edge itself
    /// is the last.
    pub async fn lineage(&self, edge: &Edge<D>) -> Vec<Lineage<D::Value>> {
        let (reply, answer) = oneshot::channel();
        self.handle.send(Message::Lineage { vertex: edge.vertex.digest.clone(), output: edge.index, reply });
        answer.await.unwrap_or_default()
    }

    /// The keys of an edge that this job has built, to look it up in the table of keys.
    pub async fn keys(&self, edge: &Edge<D>) -> Vec<KeyId> {
        let (reply, answer) = oneshot::channel();
        self.handle.send(Message::Keys { vertex: edge.vertex.digest.clone(), output: edge.index, reply });
        answer.await.unwrap_or_default()
    }

    /// The ops that do the work of some vertices which this job has built. For a vertex that another job has brought
    /// before, it is that one's op.
    pub async fn ops(&self, vertices: Vec<Digest>) -> Vec<Option<Arc<dyn Op<D>>>> {
        let (reply, answer) = oneshot::channel();
        self.handle.send(Message::Ops { vertices, reply });
        answer.await.unwrap_or_default()
    }

    /// Ends the job as dropping it does, and waits until all work that was cancelled has come to its end, so that no
    /// process or mount of a step is left.
    pub async fn close(self) {
        let handle = self.handle.clone();
        drop(self);
        let (done, ended) = oneshot::channel();
        handle.send(Message::AfterCancelled(done));
        _ = ended.await;
    }
}

impl<D: Domain> Drop for Job<D> {
    fn drop(&mut self) {
        tracing::debug!(id = self.id, "job ends");
        self.view.close();
        self.handle.send(Message::Close(self.job));
    }
}
