//! What a receipt or a piece of evidence proves, as JSON and in words.

use hailmesh_types::PublicKey;
use hailmesh_wire::evidence::{self, Finding, Severity};
use hailmesh_wire::{DecodeError, Ed25519, Evidence, Receipt, ReceiptFacts, Role, Signed};
use serde_json::{Value, json};

/// What a file proves.
#[derive(Debug)]
pub enum Proof {
    /// A receipt that holds.
    Receipt(Box<ReceiptFacts>),
    /// Evidence that holds.
    Evidence(Box<Finding>),
}

/// What does not hold.
#[derive(Debug)]
pub struct Refuted {
    /// `receipt` or `evidence`.
    pub kind: &'static str,
    /// The first clause that fails.
    pub error: DecodeError,
}

/// Checks the bytes of a receipt or of evidence. Needs nothing else.
///
/// # Errors
/// The first clause that fails.
pub fn check(bytes: &[u8], issuers: &[PublicKey]) -> Result<Proof, Refuted> {
    if let Ok(envelope) = Signed::<Evidence>::decode(bytes) {
        let refuted = |error| Refuted { kind: "evidence", error };
        // The envelope is signed by a throw-away key: it shows that nobody changed it.
        let verified = envelope.verify().map_err(refuted)?;
        let finding = evidence::check(verified.body(), verified.network(), &Ed25519).map_err(refuted)?;
        return Ok(Proof::Evidence(Box::new(finding)));
    }
    let refuted = |error| Refuted { kind: "receipt", error };
    let facts = Receipt::decode(bytes).map_err(refuted)?.verify(issuers).map_err(refuted)?;
    Ok(Proof::Receipt(Box::new(facts)))
}

/// The proof as JSON.
#[must_use]
pub fn document(proof: &Proof) -> Value {
    match proof {
        Proof::Receipt(facts) => receipt(facts),
        Proof::Evidence(finding) => json!({
            "kind": "evidence",
            "valid": true,
            "accused": finding.accused.to_string(),
            "identity": finding.identity.map(|key| key.to_string()),
            "issuer": finding.issuer.map(|key| key.to_string()),
            "code": finding.kind.name(),
            "consequence": consequence(finding.severity),
        }),
    }
}

/// What does not hold as JSON.
#[must_use]
pub fn refutation(refuted: &Refuted) -> Value {
    json!({
        "kind": refuted.kind,
        "valid": false,
        "clause": refuted.error.clause,
        "what": refuted.error.what,
    })
}

fn receipt(facts: &ReceiptFacts) -> Value {
    let (fare, currency) = facts.fare;
    let money = |minor: u64| json!({ "amount": minor, "currency": currency.as_str() });
    json!({
        "kind": "receipt",
        "valid": true,
        "network": facts.network.as_str(),
        "driver": facts.driver.to_string(),
        "rider": facts.rider.to_string(),
        "driver_identity": facts.driver_identity.map(|key| key.to_string()),
        "rider_identity": facts.rider_identity.map(|key| key.to_string()),
        "driver_issuer": facts.driver_issuer.map(|key| key.to_string()),
        "rider_issuer": facts.rider_issuer.map(|key| key.to_string()),
        "agreement": facts.agreement.to_string(),
        "agreed_ms": facts.agreed_at.as_millis(),
        "fare": { "amount": fare.minor(), "currency": currency.as_str(), "kind": facts.fare_kind.name() },
        "total": facts.total.map(|total| money(total.minor())),
        "asked_total": facts.asked.map(|asked| money(asked.minor())),
        "states": facts.states.iter().map(|state| state.name()).collect::<Vec<_>>(),
        "facts": {
            "agreed": facts.agreed,
            "firm": facts.firm,
            "arrived": facts.arrived,
            "boarded": facts.boarded,
            "completed": facts.completed,
            "cosigned": facts.cosigned,
            "disputed": facts.disputed,
        },
        "ended": facts.ended.map(|(role, outcome)| json!({ "by": side(role), "outcome": outcome.name() })),
        "fee_claimed": facts.fee_claimed.map(|fee| money(fee.minor())),
        "fee_conceded": facts.fee_conceded.map(|fee| money(fee.minor())),
        "no_shows": facts.no_shows.iter().map(|(role, grade)| json!({ "by": side(*role), "grade": grade.name() })).collect::<Vec<_>>(),
        "ratings": facts.rated.iter().map(|(author, stars)| json!({ "by": author.to_string(), "stars": stars })).collect::<Vec<_>>(),
    })
}

/// The proof for people.
#[must_use]
pub fn in_words(proof: &Proof) -> Vec<String> {
    match proof {
        Proof::Receipt(facts) => receipt_in_words(facts),
        Proof::Evidence(finding) => vec![
            format!("valid evidence {} against {}", finding.kind.name(), finding.accused),
            format!("by default: {}", consequence(finding.severity)),
        ],
    }
}

fn receipt_in_words(facts: &ReceiptFacts) -> Vec<String> {
    let (fare, currency) = facts.fare;
    let money = |minor: u64| {
        crate::output::money(&hailmesh_api::types::Money {
            amount: minor,
            currency: currency.as_str().to_owned(),
        })
    };
    let states: Vec<&str> = facts.states.iter().map(|state| state.name()).collect();
    let mut lines = vec![
        format!("valid receipt of network {}", facts.network),
        format!("driver     {}", facts.driver),
        format!("rider      {}", facts.rider),
        format!("agreement  {}", facts.agreement),
        format!("fare       {} ({})", money(fare.minor()), facts.fare_kind.name()),
        format!("states     {}", states.join(", ")),
    ];
    match (facts.total, facts.asked) {
        (Some(total), _) => lines.push(format!("total      {}, signed by both", money(total.minor()))),
        (None, Some(asked)) => {
            lines.push(format!("total      {} asked by the driver, not co-signed", money(asked.minor())))
        }
        (None, None) => {}
    }
    if let Some((role, outcome)) = facts.ended {
        lines.push(format!("ended      by the {}: {}", side(role), outcome.name()));
    }
    for (role, grade) in &facts.no_shows {
        lines.push(format!("no-show    claimed by the {}, grade {}", side(*role), grade.name()));
    }
    if facts.disputed {
        lines.push("disputed   somebody signed that something is wrong".to_owned());
    }
    lines.push("It proves what was signed, not that a ride took place.".to_owned());
    lines
}

const fn side(role: Role) -> &'static str {
    match role {
        Role::Driver => "driver",
        Role::Rider => "rider",
    }
}

const fn consequence(severity: Severity) -> &'static str {
    match severity {
        Severity::PermanentBan => "nothing of this key is ever taken again",
        Severity::Refuse24h => "nothing of this key is taken for 24 hours",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anything_else_is_refused_with_a_clause() {
        for bytes in [&b""[..], b"hello", &[0x85, 1, 2, 3], &[0xff; 4096]] {
            let refuted = check(bytes, &[]).expect_err("not a receipt");
            assert!(refuted.error.clause.starts_with('P'), "{:?}", refuted.error);
            assert_eq!(refutation(&refuted)["valid"], false);
        }
    }
}
