//! Talking to a node that runs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt as _;
use hailmesh_api::types::{EventJson, LaggedJson, NodeJson};
use hailmesh_api::{Code, Problem, Token};
use hailmesh_market::RideId;
use hailmesh_node::home::Home;
use reqwest::header;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::exit::{Exit, Failure};
use crate::homes::Homes;
use crate::output::Output;

/// How long an answer may take that does not wait for something on purpose.
const PATIENCE: Duration = Duration::from_secs(20);

/// How the failure begins when a home says that a node runs and it does not answer.
const STALE: &str = "the node";

/// The file `api.json` of a home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiFile {
    /// Where the API is.
    pub url: String,
    /// The process.
    pub pid: u32,
    /// libp2p peer id.
    pub peer_id: String,
    /// Multiaddresses the node listens on.
    pub listen: Vec<String>,
}

/// The API of one node.
#[derive(Debug, Clone)]
pub struct Client {
    home: PathBuf,
    file: ApiFile,
    token: Token,
    http: reqwest::Client,
}

/// Which of several nodes a command means.
#[derive(Debug, Clone, Copy)]
pub enum Pick {
    /// A rider before all others; for commands that change nothing, and those of riders.
    Rider,
    /// The one that knows this ride.
    Ride(RideId),
    /// Several are one too many.
    Only,
}

/// Every node that runs in these homes, riders first.
///
/// # Errors
/// Code 3 when none runs, 5 when one refuses the token.
pub async fn running(homes: &Homes) -> Result<Vec<(Client, NodeJson)>, Failure> {
    let candidates = homes.candidates();
    let mut running = Vec::new();
    let mut refused = None;
    for home in &candidates {
        match Client::open(home).await {
            Ok(found) => running.push(found),
            Err(failure) if homes.is_named() => return Err(failure),
            Err(failure) if failure.exit == Exit::Unreachable && !failure.message.starts_with(STALE) => {}
            Err(failure) => refused = Some(failure),
        }
    }
    if running.is_empty() {
        return Err(refused.unwrap_or_else(|| nothing_runs(&candidates)));
    }
    Ok(running)
}

/// Finds the node that `pick` means.
///
/// # Errors
/// Code 3 when none runs, 5 when it refuses the token, 2 when several run and the command
/// does not say which.
pub async fn find(homes: &Homes, pick: Pick, out: Output) -> Result<Client, Failure> {
    let mut running = running(homes).await?;
    if let Pick::Ride(ride) = pick
        && !homes.is_named()
    {
        for (client, _) in &running {
            if client.knows(ride).await? {
                return Ok(client.clone());
            }
        }
        let places: Vec<&str> = running.iter().map(|(_, node)| node.role.as_str()).collect();
        return Err(Failure::failed(format!(
            "no ride {ride} on the nodes that run here ({})",
            places.join(", ")
        ))
        .hint("start the node it is on, or name its home with --home"));
    }
    if running.len() > 1 {
        let list: Vec<String> = running
            .iter()
            .map(|(client, node)| format!("--home {} ({})", client.home.display(), node.role))
            .collect();
        if !matches!(pick, Pick::Rider) {
            return Err(Failure::usage(format!(
                "{} nodes run here: say which with {}",
                list.len(),
                list.join(" or ")
            )));
        }
        out.remark(format!(
            "{} nodes run here, this is the {}; others: {}",
            list.len(),
            running[0].1.role,
            list[1..].join(", ")
        ));
    }
    Ok(running.swap_remove(0).0)
}

/// Whether a process holds this home.
fn is_locked(home: &Path) -> bool {
    Home::open(home).and_then(|home| home.running()).is_ok_and(|pid| pid.is_some())
}

fn nothing_runs(candidates: &[PathBuf]) -> Failure {
    let places: Vec<String> = candidates.iter().map(|home| home.display().to_string()).collect();
    Failure::new(Exit::Unreachable, format!("no node runs in {}", places.join(", "))).hint(
        "start one with `hailmesh rider` or `hailmesh driver --at LAT,LON`, or name its home with --home",
    )
}

impl Client {
    /// The node that runs in a home, and who it is.
    ///
    /// # Errors
    /// Code 3 when none runs there, 5 when it refuses the token.
    pub async fn open(home: &Path) -> Result<(Self, NodeJson), Failure> {
        let client = Self::from_home(home)?;
        match client.get("/v1/node").await {
            Ok(node) => Ok((client, node)),
            // The file is of a node that was killed, and another program has its port now.
            Err(failure) if failure.exit == Exit::Unauthorised && !is_locked(home) => {
                Err(client.gone("another program has taken its port"))
            }
            Err(failure) => Err(failure),
        }
    }

    fn from_home(home: &Path) -> Result<Self, Failure> {
        let gone = || nothing_runs(&[home.to_owned()]);
        let path = home.join("api.json");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(gone()),
            Err(error) => {
                return Err(Failure::new(Exit::Unreachable, format!("{}: {error}", path.display())));
            }
        };
        let file: ApiFile = serde_json::from_str(&text)
            .map_err(|error| Failure::new(Exit::Unreachable, format!("{}: {error}", path.display())))?;
        let path = home.join("api-token");
        let token = std::fs::read_to_string(&path)
            .map_err(|error| Failure::new(Exit::Unauthorised, format!("{}: {error}", path.display())))?;
        let token = Token::parse(&token)
            .map_err(|error| Failure::new(Exit::Unauthorised, format!("{}: {error}", path.display())))?;
        // A proxy of the environment must see neither the token nor the places.
        let http = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(Duration::from_secs(3))
            .build()
            .map_err(|error| Failure::failed(format!("http client: {error}")))?;
        Ok(Self { home: home.to_owned(), file, token, http })
    }

    /// The home of the node.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// What `api.json` says.
    #[must_use]
    pub const fn file(&self) -> &ApiFile {
        &self.file
    }

    fn gone(&self, why: &str) -> Failure {
        let (home, pid) = (self.home.display(), self.file.pid);
        Failure::new(Exit::Unreachable, format!("{STALE} of {home} (process {pid}) does not answer: {why}"))
            .hint("it may have been killed: start it again, what was going on goes on")
    }

    async fn knows(&self, ride: RideId) -> Result<bool, Failure> {
        let response = self.send(self.request(reqwest::Method::GET, &format!("/v1/rides/{ride}"))).await?;
        match response.status().as_u16() {
            200 => Ok(true),
            404 => Ok(false),
            _ => Err(refusal(response).await),
        }
    }

    fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.http
            .request(method, format!("{}{path}", self.file.url))
            .bearer_auth(self.token.expose())
            .timeout(PATIENCE)
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<reqwest::Response, Failure> {
        request.send().await.map_err(|error| {
            if error.is_connect() {
                self.gone("it does not listen")
            } else if error.is_timeout() {
                self.gone("no answer in time")
            } else {
                self.gone(&error.without_url().to_string())
            }
        })
    }

    async fn answer<T: DeserializeOwned>(&self, request: reqwest::RequestBuilder) -> Result<T, Failure> {
        let response = self.send(request).await?;
        if !response.status().is_success() {
            return Err(refusal(response).await);
        }
        let bytes = response.bytes().await.map_err(|error| self.gone(&error.without_url().to_string()))?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Failure::failed(format!("answer of the node: {error}")))
    }

    /// GET.
    ///
    /// # Errors
    /// What the node refuses; code 3 when it does not answer.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.answer(self.request(reqwest::Method::GET, path)).await
    }

    /// GET with a query.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn query<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<T, Failure> {
        // The values are numbers, words and LAT,LON: a comma may stand in a query as it is.
        let query: Vec<String> = query.iter().map(|(key, value)| format!("{key}={value}")).collect();
        self.get(&format!("{path}?{}", query.join("&"))).await
    }

    /// POST with a JSON body.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        self.answer(self.request(reqwest::Method::POST, path).json(body)).await
    }

    /// PUT with a JSON body.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn put<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        self.answer(self.request(reqwest::Method::PUT, path).json(body)).await
    }

    /// DELETE.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.answer(self.request(reqwest::Method::DELETE, path)).await
    }

    /// POST with a JSON body and an idempotency key, waiting for up to `wait`.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn post_once<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        key: &str,
        wait: Duration,
    ) -> Result<T, Failure> {
        let path =
            if wait.is_zero() { path.to_owned() } else { format!("{path}?wait={}ms", wait.as_millis()) };
        let request = self
            .request(reqwest::Method::POST, &path)
            .header("idempotency-key", key)
            .timeout(PATIENCE + wait)
            .json(body);
        self.answer(request).await
    }

    /// The receipt of a ride.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn receipt(&self, ride: &str) -> Result<Vec<u8>, Failure> {
        let request = self
            .request(reqwest::Method::GET, &format!("/v1/rides/{ride}/receipt"))
            .header(header::ACCEPT, "application/octet-stream");
        let response = self.send(request).await?;
        if !response.status().is_success() {
            return Err(refusal(response).await);
        }
        let bytes = response.bytes().await.map_err(|error| self.gone(&error.without_url().to_string()))?;
        Ok(bytes.to_vec())
    }

    /// Calls `each` with every event until it fails or the node ends.
    ///
    /// # Errors
    /// What `each` returns; code 3 when the node ends.
    pub async fn events(
        &self,
        after: Option<u64>,
        mut each: impl FnMut(StreamItem) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let path = format!("{}/v1/events", self.file.url);
        let mut request =
            self.http.get(path).bearer_auth(self.token.expose()).header(header::ACCEPT, "text/event-stream");
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        let response = self.send(request).await?;
        if !response.status().is_success() {
            return Err(refusal(response).await);
        }
        let mut chunks = response.bytes_stream();
        let mut frames = Frames::default();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| self.gone(&error.without_url().to_string()))?;
            for frame in frames.push(&chunk) {
                each(frame.read()?)?;
            }
        }
        Err(self.gone("the event stream ended"))
    }
}

/// What the event stream brings.
#[derive(Debug, Clone, PartialEq)]
pub enum StreamItem {
    /// An event.
    Event(EventJson),
    /// Events were lost.
    Lagged(LaggedJson),
}

/// Server-sent events cut out of the bytes of a stream.
#[derive(Debug, Default)]
struct Frames {
    rest: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
struct Frame {
    name: String,
    content: String,
}

impl Frames {
    fn push(&mut self, bytes: &[u8]) -> Vec<Frame> {
        self.rest.extend_from_slice(bytes);
        let mut frames = Vec::new();
        while let Some(end) = self.rest.windows(2).position(|pair| pair == b"\n\n") {
            let block: Vec<u8> = self.rest.drain(..end + 2).collect();
            let (mut name, mut content) = (String::new(), String::new());
            for line in String::from_utf8_lossy(&block).lines() {
                if let Some(value) = line.strip_prefix("event:") {
                    name = value.trim().to_owned();
                } else if let Some(value) = line.strip_prefix("data:") {
                    content.push_str(value.strip_prefix(' ').unwrap_or(value));
                }
            }
            // Comments keep the connection alive and carry nothing.
            if !content.is_empty() {
                frames.push(Frame { name, content });
            }
        }
        frames
    }
}

impl Frame {
    fn read(&self) -> Result<StreamItem, Failure> {
        let bad = |error| Failure::failed(format!("event of the node: {error}"));
        if self.name == "lagged" {
            return serde_json::from_str(&self.content).map(StreamItem::Lagged).map_err(bad);
        }
        serde_json::from_str(&self.content).map(StreamItem::Event).map_err(bad)
    }
}

/// What a node refused, in its own words.
async fn refusal(response: reqwest::Response) -> Failure {
    let status = response.status();
    let text = response.text().await.unwrap_or_default();
    let Ok(problem) = serde_json::from_str::<Problem>(&text) else {
        return Failure::failed(format!("the node answered {status}"));
    };
    let exit = match problem.code {
        Code::Unauthorised | Code::ScopeMissing | Code::HostNotAllowed | Code::OriginNotAllowed => {
            Exit::Unauthorised
        }
        Code::BadValue | Code::BadBody | Code::BadParameter => Exit::Usage,
        Code::ShuttingDown => Exit::Unreachable,
        _ => Exit::Failed,
    };
    let failure = Failure::new(exit, problem.detail);
    match problem.code {
        Code::WrongRole => failure.hint("--home DIR names another node"),
        Code::Busy => failure.hint("`hailmesh ride list` shows it"),
        Code::StoreUnavailable => failure.hint("`hailmesh doctor` says what is wrong with it"),
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_cut_wherever_the_chunks_end() {
        let text = b": hello\n\nid: 7\nevent: ride\ndata: {\"id\":7,\"at\":\"t\",\"type\":\"ride\",\"state\":\"firm\"}\n\n\
                     event: lagged\ndata: {\"missed\":3}\n\n";
        for size in 1..text.len() {
            let mut frames = Frames::default();
            let items: Vec<StreamItem> = text
                .chunks(size)
                .flat_map(|chunk| frames.push(chunk))
                .map(|frame| frame.read().unwrap())
                .collect();
            assert_eq!(items.len(), 2, "chunks of {size}");
            assert_eq!(items[1], StreamItem::Lagged(LaggedJson { missed: 3 }));
            let StreamItem::Event(event) = &items[0] else { panic!("{:?}", items[0]) };
            assert_eq!((event.id, event.fields["state"].as_str()), (7, Some("firm")));
        }
    }
}
