//! Where a journal is kept.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use hailmesh_types::Private;

use crate::Error;

/// The address of a store: `sqlite:PATH`, `postgres://…` or `memory`.
///
/// `Display` and `Debug` hide the password of a Postgres address.
#[derive(Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// Nothing is kept: every key dies with the process (P11.7).
    Memory,
    /// A file.
    Sqlite(PathBuf),
    /// A database server, by its whole address. Several nodes may share a database:
    /// each identity has a schema of its own.
    Postgres(Private<String>),
}

impl FromStr for StoreUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = |detail: &str| Error::BadUrl { value: redacted(text), detail: detail.to_owned() };
        if text == "memory" {
            return Ok(Self::Memory);
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self::Postgres(Private(text.to_owned())));
        }
        let Some(path) = text.strip_prefix("sqlite:") else {
            return Err(bad("unknown kind of store"));
        };
        // `sqlite:///var/x` is the same file as `sqlite:/var/x`.
        let path = if path.starts_with("///") { &path[2..] } else { path };
        match path {
            "" => Err(bad("no path given")),
            ":memory:" | "::memory:" => Err(bad("a journal in memory is called memory")),
            _ if path.contains('\0') => Err(bad("a path cannot hold a zero byte")),
            _ => Ok(Self::Sqlite(PathBuf::from(path))),
        }
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => f.write_str(&redacted(url.expose())),
        }
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An address with `***` in place of each password: in the authority, as a parameter,
/// and everything of a text whose form is not understood but which may hold one.
pub(crate) fn redacted(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (place, query) = rest.split_once('?').map_or((rest, None), |(place, query)| (place, Some(query)));
    // A password may hold '/' or '@' unescaped by mistake: the last '@' decides.
    let place = match place.rsplit_once('@') {
        Some((user, host)) => match user.split_once(':') {
            Some((name, _)) => format!("{name}:***@{host}"),
            None => place.to_owned(),
        },
        None => place.to_owned(),
    };
    let query = query.map(|query| {
        let hide = |part: &str| match part.split_once('=') {
            Some((name, _)) if name.to_ascii_lowercase().contains("password") => format!("{name}=***"),
            _ => part.to_owned(),
        };
        format!("?{}", query.split('&').map(hide).collect::<Vec<_>>().join("&"))
    });
    format!("{scheme}://{place}{}", query.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms() {
        assert_eq!("memory".parse(), Ok(StoreUrl::Memory));
        assert_eq!("sqlite:a b.db".parse(), Ok(StoreUrl::Sqlite("a b.db".into())));
        assert_eq!("sqlite:/x/y.db".parse(), Ok(StoreUrl::Sqlite("/x/y.db".into())));
        assert_eq!("sqlite:///x/y.db".parse(), Ok(StoreUrl::Sqlite("/x/y.db".into())));
        for text in ["postgres://h/d", "postgresql://u@h:5432/d"] {
            assert_eq!(text.parse(), Ok(StoreUrl::Postgres(Private(text.to_owned()))));
        }
    }

    #[test]
    fn other_forms_are_refused_with_value_and_forms() {
        for bad in ["", "sqlite", "sqlite:", "sqlite::memory:", "mysql://h/d", "/tmp/x.db", "Memory"] {
            let error = bad.parse::<StoreUrl>().expect_err(bad).to_string();
            assert!(error.contains(&format!("{bad:?}")), "{error}");
            for form in ["sqlite:PATH", "postgres://", "memory"] {
                assert!(error.contains(form), "{error}");
            }
        }
    }

    #[test]
    fn passwords_are_hidden() {
        for (url, shown) in [
            ("postgres://u:geheim@h/d", "postgres://u:***@h/d"),
            ("postgres://u:ge/he@im:x@h:1/d?sslmode=require", "postgres://u:***@h:1/d?sslmode=require"),
            ("postgres://h/d?user=u&password=geheim", "postgres://h/d?user=u&password=***"),
            ("postgres://u@h/d", "postgres://u@h/d"),
        ] {
            let parsed: StoreUrl = url.parse().expect("an address");
            assert_eq!(parsed.to_string(), shown);
            assert_eq!(format!("{parsed:?}"), shown);
        }
        let error = "mysql://u:geheim@h/d".parse::<StoreUrl>().expect_err("refused").to_string();
        assert!(!error.contains("geheim"), "{error}");
    }
}
