//! Names that speak of secrets.

/// `DATABASE_PASSWORD`, `auth`, `git_key`: a telling word, first, last or between underscores, unless another one says
/// that it is no secret after all.
pub(super) fn looks_secret(name: &str) -> bool {
    const SECRET: [&str; 10] = [
        "apikey",
        "auth",
        "credential",
        "credentials",
        "key",
        "password",
        "pword",
        "passwd",
        "secret",
        "token",
    ];
    const PUBLIC: [&str; 3] = ["public", "file", "version"];
    let has = |words: &[&str]| name.split('_').any(|part| words.iter().any(|w| part.eq_ignore_ascii_case(w)));
    has(&SECRET) && !has(&PUBLIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for secret in ["SUPER_Secret", "auth", "git_key", "a_TOKEN_b", "apikey", "DB_PASSWD"] {
            assert!(looks_secret(secret), "{secret}");
        }
        for plain in ["sunflower", "PUBLIC_KEY", "SECRET_FILE", "AUTH_MODULE_VERSION", "keys", "author", ""] {
            assert!(!looks_secret(plain), "{plain}");
        }
    }
}
