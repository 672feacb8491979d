//! Tokens and what they allow.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

/// Characters of a token: 32 random bytes in hexadecimal.
const TOKEN_LEN: usize = 64;

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Look, without places, names and boarding codes.
    Read,
    /// What a rider does, and look.
    Ride,
    /// What a driver does, and look.
    Drive,
    /// Everything.
    Admin,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 4] = [Self::Read, Self::Ride, Self::Drive, Self::Admin];

    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Ride => "ride",
            Self::Drive => "drive",
            Self::Admin => "admin",
        }
    }

    /// Whether a token of this scope may do what needs one of `needed`.
    #[must_use]
    pub fn allows(self, needed: &[Self]) -> bool {
        self == Self::Admin || needed.iter().any(|scope| *scope == self || *scope == Self::Read)
    }

    const fn code(self) -> u8 {
        match self {
            Self::Read => 1,
            Self::Ride => 2,
            Self::Drive => 3,
            Self::Admin => 4,
        }
    }
}

/// A bearer token. `Debug` does not print it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// Not a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The form is wrong.
    #[error("a token is {TOKEN_LEN} hexadecimal digits")]
    Form,
    /// The operating system gave no random bytes.
    #[error("no randomness: the operating system refused")]
    Random,
}

impl Token {
    /// A new random token.
    ///
    /// # Errors
    /// [`TokenError::Random`] when the operating system has no randomness.
    pub fn random() -> Result<Self, TokenError> {
        let mut bytes = [0; TOKEN_LEN / 2];
        getrandom::fill(&mut bytes).map_err(|_| TokenError::Random)?;
        Ok(Self(hex(&bytes)))
    }

    /// Reads a token, as from the file `api-token`; surrounding white space is dropped.
    ///
    /// # Errors
    /// [`TokenError::Form`].
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        if text.len() == TOKEN_LEN && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(TokenError::Form)
        }
    }

    /// The token as it is sent.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The token of a lesser scope that goes with this administrator's token. The same
    /// every time; nobody finds the administrator's token from it.
    #[must_use]
    pub fn derive(&self, scope: Scope) -> Self {
        if scope == Scope::Admin {
            return self.clone();
        }
        let mut hash = Sha256::new();
        hash.update(b"hailmesh-api-token-v1\0");
        hash.update(scope.name().as_bytes());
        hash.update([0]);
        hash.update(self.0.as_bytes());
        Self(hex(hash.finalize().as_slice()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<token>")
    }
}

/// The tokens a server accepts: their hashes, never themselves.
#[derive(Debug, Clone, Default)]
pub struct Tokens(Vec<([u8; 32], Scope)>);

impl Tokens {
    /// The administrator's token and the three derived from it.
    #[must_use]
    pub fn from_admin(token: &Token) -> Self {
        let mut tokens = Self::default();
        for scope in Scope::ALL {
            tokens.grant(&token.derive(scope), scope);
        }
        tokens
    }

    /// Accepts one more token.
    pub fn grant(&mut self, token: &Token, scope: Scope) {
        self.0.push((digest(token.expose()), scope));
    }

    /// The scope of what a caller presents. The time it takes depends neither on the token
    /// nor on which one it is: hashes of equal length are compared, all of them.
    #[must_use]
    pub fn scope_of(&self, presented: &str) -> Option<Scope> {
        let presented = digest(presented);
        let mut found = 0_u8;
        for (hash, scope) in &self.0 {
            let equal: Choice = hash.ct_eq(&presented);
            found = u8::conditional_select(&found, &scope.code(), equal);
        }
        Scope::ALL.into_iter().find(|scope| scope.code() == found)
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_derived_token_has_its_scope_and_strangers_have_none() {
        let admin = Token::random().unwrap();
        let tokens = Tokens::from_admin(&admin);
        for scope in Scope::ALL {
            assert_eq!(tokens.scope_of(admin.derive(scope).expose()), Some(scope));
        }
        assert_eq!(tokens.scope_of(Token::random().unwrap().expose()), None);
        assert_eq!(tokens.scope_of(""), None);
        assert_eq!(tokens.scope_of(&admin.expose()[..63]), None);
    }

    #[test]
    fn scopes_allow_what_they_say() {
        assert!(Scope::Admin.allows(&[]));
        assert!(Scope::Ride.allows(&[Scope::Read]));
        assert!(Scope::Ride.allows(&[Scope::Ride, Scope::Drive]));
        assert!(!Scope::Ride.allows(&[Scope::Drive]));
        assert!(!Scope::Read.allows(&[Scope::Ride, Scope::Drive]));
        assert!(!Scope::Drive.allows(&[Scope::Admin]));
    }

    #[test]
    fn tokens_are_not_printed() {
        assert_eq!(format!("{:?}", Token::random().unwrap()), "<token>");
        assert_eq!(Token::parse("abc"), Err(TokenError::Form));
    }
}
