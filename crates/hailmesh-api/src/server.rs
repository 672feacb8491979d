//! Listening.

use std::io;
use std::net::SocketAddr;

use hailmesh_node::NodeHandle;
use hailmesh_node::config::RiderSettings;
use hailmesh_node::market::DriverProfile;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::auth::Token;
use crate::router;

/// How a server is set up.
#[derive(Debug)]
pub struct ApiConfig {
    /// Where to listen; loopback only. Port 0 picks a free one. Default `127.0.0.1:0`.
    pub addr: SocketAddr,
    /// Further values of `Host` to serve, exactly as they are sent (`node.local:8080`).
    pub allow_hosts: Vec<String>,
    /// Further values of `Origin` to serve, exactly as they are sent (`http://node.local`).
    pub allow_origins: Vec<String>,
    /// The administrator's token.
    pub token: Token,
    /// What this driver offers at the start, so that `PUT /v1/offer` can change a part.
    pub profile: Option<DriverProfile>,
    /// What a rider says of itself when a request does not.
    pub rider: RiderSettings,
}

impl ApiConfig {
    /// Loopback, a free port, nothing further allowed.
    #[must_use]
    pub fn new(token: Token) -> Self {
        Self {
            addr: SocketAddr::from(([127, 0, 0, 1], 0)),
            allow_hosts: Vec::new(),
            allow_origins: Vec::new(),
            token,
            profile: None,
            rider: RiderSettings::default(),
        }
    }
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address can be reached from other machines.
    #[error(
        "api address {0}: expected a loopback address such as 127.0.0.1:0; serving other machines needs \
         TLS, which is not built yet (use an SSH tunnel or a proxy on this machine)"
    )]
    NotLoopback(SocketAddr),
    /// The address cannot be had.
    #[error("api address {addr}: {source}")]
    Bind {
        /// Which.
        addr: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
}

/// A server that runs. Dropping it does not stop it; [`Server::stop`] does.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    closing: CancellationToken,
    task: JoinHandle<io::Result<()>>,
}

impl Server {
    /// Where it listens, with the real port.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://` and the address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Ends event streams, lets requests in flight finish for at most two seconds, stops.
    pub async fn stop(mut self) {
        self.closing.cancel();
        let grace = std::time::Duration::from_secs(2);
        if tokio::time::timeout(grace, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

/// Serves the API of `node`.
///
/// # Errors
/// When the address is not a loopback address or cannot be bound.
pub async fn serve(node: NodeHandle, config: ApiConfig) -> Result<Server, ServeError> {
    if !config.addr.ip().is_loopback() {
        return Err(ServeError::NotLoopback(config.addr));
    }
    let bind = |source| ServeError::Bind { addr: config.addr, source };
    let listener = TcpListener::bind(config.addr).await.map_err(bind)?;
    let addr = listener.local_addr().map_err(bind)?;
    let mut hosts: Vec<String> =
        ["127.0.0.1", "localhost", "[::1]"].iter().map(|name| format!("{name}:{}", addr.port())).collect();
    let own = addr.to_string();
    if !hosts.contains(&own) {
        hosts.push(own);
    }
    let mut origins: Vec<String> = hosts.iter().map(|host| format!("http://{host}")).collect();
    hosts.extend(config.allow_hosts.iter().cloned());
    origins.extend(config.allow_origins.iter().cloned());
    let closing = CancellationToken::new();
    let app = App::new(node, config, hosts, origins, closing.clone());
    let service = router::router(app);
    let ends = closing.clone().cancelled_owned();
    let task = tokio::spawn(async move { axum::serve(listener, service).with_graceful_shutdown(ends).await });
    tracing::debug!(%addr, "api serves");
    Ok(Server { addr, closing, task })
}
