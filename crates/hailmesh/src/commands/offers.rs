//! `hailmesh offers`.

use std::time::Duration;

use hailmesh_api::types::{OfferJson, OffersJson};

use crate::cli::OffersArgs;
use crate::client::{self, Pick};
use crate::exit::{Exit, Failure};
use crate::homes::Homes;
use crate::output::{self, Output};

/// How often `--watch` looks.
const PERIOD: Duration = Duration::from_secs(1);

pub(super) async fn run(homes: &Homes, args: &OffersArgs, out: Output) -> Result<Exit, Failure> {
    let node = client::find(homes, Pick::Rider, out).await?;
    let mut query = vec![("side", if args.riders { "riders" } else { "drivers" }.to_owned())];
    if let Some(near) = args.near {
        query.push(("near", format!("{},{}", near.lat(), near.lon())));
    }
    if let Some(radius) = args.radius {
        query.push(("radius_m", radius.to_string()));
    }
    if let Some(class) = args.class {
        query.push(("class", class.to_string()));
    }
    if let Some(seats) = args.seats {
        query.push(("seats", seats.to_string()));
    }
    let mut offers: OffersJson = node.query("/v1/offers", &query).await?;
    print(&offers, out)?;
    if !args.watch {
        return Ok(Exit::Ok);
    }
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now: OffersJson = node.query("/v1/offers", &query).await?;
        if !same(&now.items, &offers.items) {
            print(&now, out)?;
            offers = now;
        }
    }
}

/// Whether two lists show the same offers; that all have become older is no news.
fn same(a: &[OfferJson], b: &[OfferJson]) -> bool {
    let plain = |offer: &OfferJson| OfferJson { age_ms: 0, expires_ms: 0, ..offer.clone() };
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| plain(a) == plain(b))
}

fn print(offers: &OffersJson, out: Output) -> Result<(), Failure> {
    if out.json {
        return out.document(offers);
    }
    if !offers.items.is_empty() {
        let rows = offers.items.iter().map(row).collect();
        out.table(
            &["AUTHOR", "DISTANCE", "CLASS", "SEATS", "ANSWERS", "BASE", "PER KM", "PER MIN", "AGE"],
            rows,
        )?;
    }
    for line in output::explain(&offers.explain) {
        out.remark(line);
    }
    if offers.items.is_empty() {
        out.remark(format!(
            "next: {}",
            offers.hint.as_deref().unwrap_or_else(|| output::advice(&offers.explain))
        ));
    }
    Ok(())
}

fn row(offer: &OfferJson) -> Vec<String> {
    let rate = |minor: fn(&hailmesh_api::types::TariffJson) -> u32| {
        offer.tariff.as_ref().map_or_else(String::new, |tariff| {
            output::money(&hailmesh_api::types::Money {
                amount: minor(tariff).into(),
                currency: tariff.currency.clone(),
            })
        })
    };
    vec![
        output::short(&offer.author),
        format!("{} – {}", output::distance(offer.distance_min_m), output::distance(offer.distance_max_m)),
        offer.class.clone(),
        offer.seats.to_string(),
        offer.accept.clone().unwrap_or_default(),
        rate(|tariff| tariff.base),
        rate(|tariff| tariff.per_km),
        rate(|tariff| tariff.per_min),
        output::span(offer.age_ms),
    ]
}
