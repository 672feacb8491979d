//! `hailmesh peers` and `hailmesh invite`.

use hailmesh_api::types::{AddPeerJson, DoneJson, InviteJson, PeersJson};

use crate::cli::PeersAction;
use crate::client::{self, Pick};
use crate::exit::{Exit, Failure};
use crate::homes::Homes;
use crate::output::{self, Output};

pub(super) async fn peers(homes: &Homes, action: PeersAction, out: Output) -> Result<Exit, Failure> {
    let pick = if matches!(action, PeersAction::List) { Pick::Rider } else { Pick::Only };
    let node = client::find(homes, pick, out).await?;
    match action {
        PeersAction::List => {
            let peers: PeersJson = node.get("/v1/peers").await?;
            if out.json {
                out.document(&peers)?;
            } else if peers.items.is_empty() {
                out.remark("no peer is connected: run `hailmesh invite` on another node and pass the line with --bootstrap");
            } else {
                let rows = peers
                    .items
                    .into_iter()
                    .map(|peer| {
                        vec![
                            peer.peer_id,
                            peer.addresses.first().cloned().unwrap_or_default(),
                            output::span(peer.connected_ms),
                            peer.agent.unwrap_or_default(),
                        ]
                    })
                    .collect();
                out.table(&["PEER", "ADDRESS", "CONNECTED", "AGENT"], rows)?;
            }
        }
        PeersAction::Add { address } => {
            let done: DoneJson = node.post("/v1/peers", &AddPeerJson { address }).await?;
            if out.json {
                out.document(&done)?;
            } else {
                out.remark("being dialled; `hailmesh peers list` shows it once it is connected");
            }
        }
    }
    Ok(Exit::Ok)
}

pub(super) async fn invite(homes: &Homes, out: Output) -> Result<Exit, Failure> {
    let node = client::find(homes, Pick::Rider, out).await?;
    let invite: InviteJson = node.get("/v1/invite").await?;
    if out.json {
        out.document(&invite)?;
    } else {
        out.line(&invite.invite)?;
        out.remark("on another machine: hailmesh rider --bootstrap LINE (or driver, or relay)");
    }
    Ok(Exit::Ok)
}
