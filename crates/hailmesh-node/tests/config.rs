//! Layers of settings, where each value came from, and what is said about bad ones.

use std::path::Path;

use figment::value::{Dict, Value};
use hailmesh_node::config::{ConfigError, KEYS, Loaded, Settings, example_toml, load_with, tariff_overrides};
use tempfile::TempDir;

fn home(config: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    if !config.is_empty() {
        std::fs::write(dir.path().join("config.toml"), config).unwrap();
    }
    dir
}

fn load(config: &str, env: &[(&str, &str)], flags: Dict) -> Result<Loaded, ConfigError> {
    let dir = home(config);
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    load_with(dir.path(), None, env, flags)
}

fn flag(section: &str, key: &str, value: &str) -> Dict {
    let inner: Dict = [(key.to_owned(), Value::from(value))].into();
    [(section.to_owned(), Value::from(inner))].into()
}

fn refusal(config: &str, env: &[(&str, &str)], flags: Dict) -> String {
    load(config, env, flags).expect_err("refused").to_string()
}

#[test]
fn the_defaults_stand_by_themselves() {
    let loaded = load("", &[], Dict::new()).unwrap();
    assert_eq!(loaded.settings, Settings::default());
    assert_eq!(loaded.origin("network.name"), "default");
    assert_eq!(loaded.settings.market_config().unwrap().pow_bits, 20);
}

#[test]
fn later_layers_win_and_say_so() {
    let config = "[network]\nname = \"file\"\nmdns = false\n[driver]\nseats = 2\n";
    let env = [("HAILMESH_NETWORK__NAME", "env"), ("HAILMESH_DRIVER__SEATS", "3")];
    let loaded = load(config, &env, flag("network", "name", "flag")).unwrap();
    assert_eq!(loaded.settings.network.name, "flag");
    assert_eq!(loaded.origin("network.name"), "flag --network");
    assert_eq!(loaded.settings.driver.seats, 3);
    assert_eq!(loaded.origin("driver.seats"), "environment HAILMESH_DRIVER__SEATS");
    assert!(!loaded.settings.network.mdns);
    let origin = loaded.origin("network.mdns");
    assert!(origin.starts_with("file ") && origin.ends_with("config.toml"), "{origin}");
    assert_eq!(loaded.origin("driver.class"), "default");
    // On a network of another name no work is owed unless it is asked for.
    assert_eq!(loaded.settings.market_config().unwrap().pow_bits, 0);
}

#[test]
fn the_environment_is_text_of_any_kind() {
    let env = [
        ("HAILMESH_NETWORK__LISTEN", "/ip4/127.0.0.1/tcp/0, /ip4/127.0.0.1/udp/0/quic-v1"),
        ("HAILMESH_NETWORK__MDNS", "off"),
        ("HAILMESH_NETWORK__POW_BITS", "4"),
        ("HAILMESH_RIDER__PHONE", "00491701234"),
        ("HAILMESH_DRIVER__TARIFF__BASE", "1_000"),
        ("HAILMESH_TIMERS__HOLD_MS", "5000"),
    ];
    let settings = load("", &env, Dict::new()).unwrap().settings;
    assert_eq!(settings.network.listen_addrs().unwrap().len(), 2);
    assert!(!settings.network.mdns);
    assert_eq!(settings.rider.phone, "00491701234");
    assert_eq!(settings.driver.profile().unwrap().tariff.base, 1_000);
    let market = settings.market_config().unwrap();
    assert_eq!((market.pow_bits, market.timers.hold.as_millis()), (4, 5_000));
}

#[test]
fn short_names_belong_to_the_command_line() {
    let env = [
        ("HAILMESH_HOME", "/nowhere"),
        ("HAILMESH_CONFIG", "x"),
        ("HAILMESH_API", "127.0.0.1:1"),
        ("HAILMESH_LOG", "debug"),
        ("HAILMESH_TOKEN_FILE", "x"),
        ("HAILMESH_PASSPHRASE_FILE", "x"),
    ];
    assert_eq!(load("", &env, Dict::new()).unwrap().settings, Settings::default());
}

#[test]
fn unknown_keys_name_key_origin_and_what_was_meant() {
    let text = refusal("[network]\nbootstap = []\n", &[], Dict::new());
    assert!(text.contains("network.bootstap") && text.contains("config.toml"), "{text}");
    assert!(text.contains("did you mean network.bootstrap?"), "{text}");

    let text = refusal("", &[("HAILMESH_DRIVER__SEAT", "2")], Dict::new());
    assert!(text.contains("environment HAILMESH_DRIVER__SEAT"), "{text}");
    assert!(text.contains("did you mean driver.seats?"), "{text}");

    let text = refusal("", &[("HAILMESH_NETWORK_NAME", "x")], Dict::new());
    assert!(text.contains("did you mean HAILMESH_NETWORK__NAME?"), "{text}");

    let text = refusal("[rider]\nseats = 2\n", &[], Dict::new());
    assert!(text.contains("rider.seats") && text.contains("did you mean driver.seats?"), "{text}");

    let text = refusal("[driver.tariff]\nkilometre = 2\nbase = 3\n", &[], Dict::new());
    assert!(text.contains("driver.tariff.kilometre"), "{text}");

    let text = refusal("nonsense = 1\n", &[], Dict::new());
    assert!(text.contains("unknown key nonsense") && !text.contains("did you mean"), "{text}");
}

#[test]
fn impossible_values_name_key_value_range_and_origin() {
    let env = |name: &'static str, value: &'static str| refusal("", &[(name, value)], Dict::new());
    for (name, value, parts) in [
        ("HAILMESH_DRIVER__SEATS", "17", ["driver.seats", "17", "1 to 16"]),
        ("HAILMESH_DRIVER__SEATS", "-1", ["driver.seats", "-1", "whole number"]),
        ("HAILMESH_DRIVER__SEATS", "many", ["driver.seats", "many", "whole number"]),
        ("HAILMESH_DRIVER__PRECISION", "6", ["driver.precision", "6", "7 to 10"]),
        ("HAILMESH_DRIVER__PRECISION", "300", ["driver.precision", "300", "7 to 10"]),
        ("HAILMESH_DRIVER__ACCEPT", "maybe", ["driver.accept", "maybe", "auto or ask"]),
        ("HAILMESH_DRIVER__CLASS", "rocket", ["driver.class", "rocket", "standard"]),
        ("HAILMESH_DRIVER__FEATURES", "ramp,wings", ["driver.features", "wings", "child-seat"]),
        ("HAILMESH_DRIVER__DISCOUNT", "1001", ["driver.discount", "1001", "0 to 1000"]),
        ("HAILMESH_DRIVER__TARIFF__SURGE", "999", ["driver.tariff.surge", "999", "1000 to 5000"]),
        ("HAILMESH_DRIVER__TARIFF__CURRENCY", "usd", ["driver.tariff.currency", "usd", "ISO 4217"]),
        (
            "HAILMESH_DRIVER__TARIFF__WAIT_FREE_MS",
            "900001",
            ["driver.tariff.wait_free_ms", "900001", "900000"],
        ),
        (
            "HAILMESH_DRIVER__VEHICLE__PLATE",
            "12345678901234567",
            ["driver.vehicle.plate", "12345678901234567", "16"],
        ),
        ("HAILMESH_NETWORK__NAME", "No Name", ["network.name", "No Name", "a-z"]),
        ("HAILMESH_NETWORK__POW_BITS", "33", ["network.pow_bits", "33", "0 to 32"]),
        ("HAILMESH_NETWORK__LISTEN", "0.0.0.0:1", ["network.listen", "0.0.0.0:1", "multiaddress"]),
        ("HAILMESH_NETWORK__BOOTSTRAP", "example.org", ["network.bootstrap", "example.org", "invite"]),
        ("HAILMESH_NETWORK__ISSUERS", "abc", ["network.issuers", "abc", "64 hexadecimal"]),
        ("HAILMESH_NETWORK__MDNS", "perhaps", ["network.mdns", "perhaps", "true or false"]),
        ("HAILMESH_API__ADDR", "localhost", ["api.addr", "localhost", "IP:PORT"]),
        ("HAILMESH_STORE__URL", "mysql://x", ["store.url", "mysql://x", "postgres"]),
        ("HAILMESH_TIMERS__HOLD_MS", "100", ["timers.hold_ms", "100", "2000 to 20000"]),
        ("HAILMESH_TIMERS__HEDGE_MAX", "9", ["timers.hedge_max", "9", "1 to 5"]),
        ("HAILMESH_POLICY__SPEED_KMH", "0", ["policy.speed_kmh", "0", "1 to 200"]),
        ("HAILMESH_POLICY__MATCHING", "best", ["policy.matching", "best", "nearest-pair"]),
        ("HAILMESH_POLICY__IDLENESS", "10001", ["policy.idleness", "10001", "10000"]),
        ("HAILMESH_POLICY__SENIORITY", "10001", ["policy.seniority", "10001", "10000"]),
        ("HAILMESH_POLICY__RIDER_LEVEL", "l9", ["policy.rider_level", "l9", "l0"]),
        ("HAILMESH_LOG__FORMAT", "xml", ["log.format", "xml", "pretty or json"]),
    ] {
        let text = env(name, value);
        assert!(parts.iter().all(|part| text.contains(part)), "{name}={value}: {text}");
        assert!(text.contains(&format!("environment {name}")), "{name}={value}: {text}");
    }
}

#[test]
fn positions_are_on_the_globe() {
    for bad in ["NaN,0", "91,0", "0,181", "0", "1,2,3", "inf,0", "a,b"] {
        let text = refusal("", &[("HAILMESH_DRIVER__AT", bad)], Dict::new());
        assert!(text.contains("driver.at") && text.contains("-90 to 90"), "{bad}: {text}");
    }
    let settings = load("", &[("HAILMESH_DRIVER__AT", "40.7580,-73.9855")], Dict::new()).unwrap().settings;
    assert!(settings.driver.position().unwrap().is_some());
}

#[test]
fn wrong_types_and_broken_files_are_named() {
    let text = refusal("[driver]\nseats = []\n", &[], Dict::new());
    assert!(text.contains("driver.seats") && text.contains("config.toml"), "{text}");
    let text = refusal("[driver]\nseats = -4\n", &[], Dict::new());
    assert!(text.contains("driver.seats = -4"), "{text}");
    let text = refusal("driver = 3\n", &[], Dict::new());
    assert!(text.contains("driver"), "{text}");
    let text = refusal("[driver\nseats = 1\n", &[], Dict::new());
    assert!(text.contains("config.toml") && text.contains("line 1"), "{text}");
    let missing = load_with(Path::new("/nowhere"), Some(Path::new("/nowhere/c.toml")), [], Dict::new());
    assert!(missing.unwrap_err().to_string().contains("/nowhere/c.toml"));
}

#[test]
fn the_template_is_the_defaults_and_loads() {
    let template = example_toml();
    assert_eq!(load(&template, &[], Dict::new()).unwrap().settings, Settings::default());
    // Without its comment marks every line still is a known key with a possible value.
    let uncommented: String = template
        .lines()
        .filter_map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')) => Some(rest),
            Some(_) => None,
            None => Some(line),
        })
        .map(|line| format!("{line}\n"))
        .collect();
    let loaded = load(&uncommented, &[], Dict::new()).unwrap();
    assert!(loaded.origin("driver.at").ends_with("config.toml"));
    assert_eq!(loaded.entries().len(), KEYS.len());
    let all_set =
        loaded.entries().into_iter().all(|(_, value, origin)| value != "-" && origin.contains("file"));
    assert!(all_set, "{:?}", loaded.entries());
}

#[test]
fn the_tariff_flag_has_short_names() {
    let tariff = tariff_overrides("base=1,km=2,min=3,minimum=4,currency=EUR").unwrap();
    let driver: Dict = [("tariff".to_owned(), Value::from(tariff))].into();
    let flags: Dict = [("driver".to_owned(), Value::from(driver))].into();
    // A fee may be at most five times the greater of minimum and base.
    let text = refusal("", &[], flags.clone());
    assert!(text.contains("driver.tariff.cancel_fee"), "{text}");
    let config = "[driver.tariff]\ncancel_fee = 0\nno_show_fee = 0\n";
    let loaded = load(config, &[], flags).unwrap();
    let tariff = loaded.settings.driver.tariff.tariff().unwrap();
    assert_eq!((tariff.base, tariff.per_km, tariff.per_min, tariff.minimum), (1, 2, 3, 4));
    assert_eq!(loaded.origin("driver.tariff.per_km"), "flag --tariff");
    for bad in ["base", "speed=3", "base:3"] {
        assert!(tariff_overrides(bad).unwrap_err().to_string().contains(bad), "{bad}");
    }
}

#[test]
fn places_and_contacts_are_in_no_debug_output() {
    let env = [
        ("HAILMESH_DRIVER__AT", "40.7580,-73.9855"),
        ("HAILMESH_RIDER__AT", "40.7580,-73.9855"),
        ("HAILMESH_RIDER__NAME", "Ada Lovelace"),
        ("HAILMESH_RIDER__PHONE", "00491701234"),
        ("HAILMESH_DRIVER__VEHICLE__PLATE", "T123"),
    ];
    let text = format!("{:?}", load("", &env, Dict::new()).unwrap().settings);
    for (_, value) in env {
        assert!(!text.contains(value), "{text}");
    }
}
