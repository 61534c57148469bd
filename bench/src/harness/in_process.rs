//! The tokio runtime with channels between the nodes and storage in memory: what the driver costs
//! beside the protocol.

use crate::{app::Client, recorder::Outcome};
use consensus_core::{
    runtime::{self, Handle, NodeError, Options, Runnable, Running},
    service::Answer,
};
use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinSet,
};

/// Bytes a command.
const PAYLOAD: usize = 64;
/// Before asking again where nobody could tell who leads.
const PAUSE: Duration = Duration::from_millis(1);

/// Why a cluster in this process did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InProcessError {
    /// The system gave no threads.
    #[error("cannot start the runtime")]
    Runtime(#[from] io::Error),
    /// The options do not fit the nodes.
    #[error(transparent)]
    Node(#[from] NodeError),
}

/// A cluster and its clients in this process.
#[derive(Debug)]
pub struct InProcess<A: Runnable> {
    nodes: Vec<Running<A>>,
    clients: Vec<Client>,
    // Last: the nodes' tasks end on it.
    tokio: Runtime,
}

impl<A: Runnable> InProcess<A> {
    /// Starts nodes 1 to `nodes` and opens the sessions of `clients` clients, all on the caller's thread:
    /// a wake on another core costs more than the whole way of a command.
    ///
    /// # Errors
    /// When there are no threads, or the options do not fit.
    pub fn new(nodes: u16, clients: u32, options: &A::Options) -> Result<Self, InProcessError> {
        let tokio = Builder::new_current_thread().enable_all().build()?;
        let nodes_running = {
            let _guard = tokio.enter();
            runtime::cluster::<A>(nodes, options, &Options::default())?
        };
        let client = |number| Client::new(A::CONTRACT, number, nodes, PAYLOAD);
        let mut cluster = Self {
            nodes: nodes_running,
            clients: (0..clients).map(client).collect(),
            tokio,
        };
        cluster.each(|handles, mut client| async move {
            ask(&handles, &mut client).await;
            client
        });
        Ok(cluster)
    }

    /// Lets every client do `operations` operations, one after the other, all clients at once.
    /// Returns how long that took.
    ///
    /// # Panics
    /// When an operation is not done, which without failures is a bug.
    pub fn run(&mut self, operations: u64) -> Duration {
        self.each(move |handles, mut client| async move {
            for _ in 0..operations {
                client.advance();
                let answer = ask(&handles, &mut client).await;
                let outcome = client.outcome(&answer);
                assert_eq!(outcome, Outcome::Done, "{answer:?} though nothing failed");
            }
            client
        })
    }

    /// Runs `work` for all clients at once; how long it took from the first start to the last end.
    fn each<F, W>(&mut self, work: W) -> Duration
    where
        W: Fn(Arc<[Handle]>, Client) -> F,
        F: Future<Output = Client> + Send + 'static,
    {
        let handles: Arc<[Handle]> = self
            .nodes
            .iter()
            .map(|node| node.handle().clone())
            .collect();
        let jobs: Vec<F> = self
            .clients
            .drain(..)
            .map(|client| work(Arc::clone(&handles), client))
            .collect();
        let (elapsed, clients) = self.tokio.block_on(async {
            let start = Instant::now();
            let mut tasks = JoinSet::new();
            for job in jobs {
                tasks.spawn(job);
            }
            let clients = tasks.join_all().await;
            (start.elapsed(), clients)
        });
        self.clients = clients;
        elapsed
    }
}

/// Asks until there is an answer that asking again would not change.
async fn ask(nodes: &[Handle], client: &mut Client) -> Answer {
    loop {
        let node = &nodes[usize::from(client.home().0) - 1];
        match node
            .call(client.id(), client.sequence(), client.body())
            .await
        {
            Answer::Refused(refusal) if client.retries(refusal) => tokio::time::sleep(PAUSE).await,
            answer => return answer,
        }
    }
}
