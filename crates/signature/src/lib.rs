//! Detached signatures, checked by the programs that know them: `gpg` for OpenPGP, `ssh-keygen` for SSH.
//!
//! Never: fetches keys.

use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::process::{Output, Stdio};

use errdefs::{Error, Result, ResultExt};
use jiff::Timestamp;
use tokio::process::Command;

const PGP: &str = "-----BEGIN PGP SIGNATURE-----";
const SSH: &str = "-----BEGIN SSH SIGNATURE-----";
/// RFC 9580, 9.5: SHA-256, SHA-384, SHA-512.
const PGP_HASHES: [&str; 3] = ["8", "9", "10"];
/// RFC 9580, 9.1: RSA, RSA for signatures only, ECDSA, EdDSA.
const PGP_KEYS: [&str; 4] = ["1", "3", "19", "22"];
/// Bits of an RSA key that is taken for safe.
const RSA_BITS: u32 = 2048;
/// Seconds that the clock of a signer may be ahead.
const CLOCK: i64 = 5 * 60;

/// Who has to have signed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Signer {
    /// Armored OpenPGP keys, or one SSH key as in `authorized_keys`.
    pub keys: String,
    /// A key that is no longer valid does not count. Else it does for what it signed before.
    pub reject_expired: bool,
}

/// Whether a text begins as a signature of a kind that can be checked.
pub fn is_signature(line: &[u8]) -> bool {
    [PGP, SSH].iter().any(|begin| line == begin.as_bytes())
}

impl Signer {
    /// Checks that one of the keys has signed all of `data`, for git where the signature is one of SSH. `folder` is an
    /// empty one, for keys and the like.
    ///
    /// # Errors
    /// User errors where it is not so; environment errors where the program is missing.
    pub async fn verify(&self, folder: &Path, signature: &str, data: File) -> Result<()> {
        match signature {
            pgp if pgp.starts_with(PGP) => {
                let verified = self.verify_pgp(folder, pgp, data).await;
                verified.context("failed to verify pgp signature")
            }
            ssh if ssh.starts_with(SSH) => {
                let verified = self.verify_ssh(folder, ssh, data).await;
                verified.context("failed to verify ssh signature")
            }
            _ => Err(Error::user("invalid signature format")),
        }
    }

    async fn verify_pgp(&self, folder: &Path, signature: &str, data: File) -> Result<()> {
        let home = folder.join("gpg");
        std::fs::DirBuilder::new().mode(0o700).create(&home).context("failed to make a key ring")?;
        let gpg = || {
            let mut command = program("gpg");
            command.arg("--homedir").arg(&home);
            command.args(["--batch", "--no-options", "--no-autostart", "--trust-model", "always"]);
            command
        };
        let mut import = gpg();
        import.arg("--import");
        let imported = run(import, as_file(self.keys.as_bytes())?).await?;
        if !imported.status.success() {
            return Err(Error::user("failed to read armored public key").hint(said(&imported)));
        }
        let path = folder.join("signature");
        std::fs::write(&path, signature).context("failed to store a signature")?;
        let mut verify = gpg();
        verify.args(["--status-fd", "1", "--verify"]).arg(&path).arg("-");
        let verified = run(verify, data).await?;
        let status = String::from_utf8_lossy(&verified.stdout);
        let key = judge(&status, self.reject_expired, Timestamp::now().as_second())
            .map_err(|e| e.hint(said(&verified)))?;
        let mut list = gpg();
        list.args(["--with-colons", "--list-keys", key]);
        let listed = run(list, File::open("/dev/null")?).await?;
        check_length(&String::from_utf8_lossy(&listed.stdout))
    }

    async fn verify_ssh(&self, folder: &Path, signature: &str, data: File) -> Result<()> {
        let key = ssh_key(&self.keys).ok_or_else(|| Error::user("failed to parse ssh public key"))?;
        let (allowed, path) = (folder.join("allowed"), folder.join("signature"));
        std::fs::write(&allowed, format!("* {key}\n")).context("failed to store a key")?;
        std::fs::write(&path, signature).context("failed to store a signature")?;
        let mut verify = program("ssh-keygen");
        verify.args(["-Y", "verify", "-n", "git", "-I", "git", "-f"]).arg(&allowed).arg("-s").arg(&path);
        let verified = run(verify, data).await?;
        match verified.status.success() {
            true => Ok(()),
            false => Err(Error::user("the signature is not one of the key that was given, for git")
                .hint(said(&verified))),
        }
    }
}

/// A file of its own, to be read from the start.
pub fn as_file(bytes: &[u8]) -> Result<File> {
    let file = rustix::fs::memfd_create("data", rustix::fs::MemfdFlags::CLOEXEC);
    let mut file = File::from(file.map_err(std::io::Error::from)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    command.env_clear().env("PATH", std::env::var("PATH").unwrap_or_default()).env("LC_ALL", "C");
    command.kill_on_drop(true);
    command
}

async fn run(mut command: Command, input: File) -> Result<Output> {
    let name = command.as_std().get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::from(input)).output().await;
    output.map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => {
            Error::environment(format!("the program `{name}` is not on this machine"))
                .hint(format!("to check signatures, install {name} where the signature is checked"))
        }
        _ => Error::from(e).context(format!("failed to run {name}")),
    })
}

fn said(output: &Output) -> String {
    format!("the program said: {}", String::from_utf8_lossy(&output.stderr).trim())
}

/// Reads what `gpg` tells of a signature (GnuPG, doc/DETAILS, "Format of the --status-fd output"); gives the key.
fn judge(status: &str, reject_expired: bool, now: i64) -> Result<&str> {
    let lines = status.lines().filter_map(|line| line.strip_prefix("[GNUPG:] "));
    let (mut valid, mut expired) = (None, None);
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        let word = |at: usize| words.get(at).copied().unwrap_or_default();
        let number = |at: usize| word(at).parse::<i64>().ok();
        let by = || format!("signature by {}", word(1));
        match word(0) {
            "BADSIG" => return Err(Error::user(format!("{}: it is of other data", by()))),
            "REVKEYSIG" => return Err(Error::user(format!("{}: key revoked", by()))),
            "ERRSIG" if word(6) == "9" => {
                return Err(Error::user(format!("{}: no such key was given", by())));
            }
            "ERRSIG" => return Err(Error::user(format!("{}: it cannot be checked", by()))),
            "EXPKEYSIG" | "EXPSIG" if reject_expired => {
                return Err(Error::user(format!("{}: it or its key expired", by())));
            }
            "KEYEXPIRED" => expired = expired.min(number(1)).or(number(1)),
            "VALIDSIG" => valid = Some(words),
            _ => {}
        }
    }
    let valid = valid.filter(|words| words.len() > 8);
    let words = valid.ok_or_else(|| Error::user("no signature packet found"))?;
    let made: i64 = words[3].parse().map_err(|_| Error::user("the signature has no time"))?;
    if expired.is_some_and(|end| made >= end) {
        return Err(Error::user("the key had expired before it signed"));
    }
    if made > now + CLOCK {
        return Err(Error::user("signature creation time is in the future"));
    }
    if !PGP_HASHES.contains(&words[8]) {
        return Err(Error::user(format!("rejecting weak or unknown hash {}", words[8])));
    }
    if !PGP_KEYS.contains(&words[7]) {
        return Err(Error::user(format!("rejecting unsupported pubkey algorithm {}", words[7])));
    }
    Ok(words[1])
}

/// Refuses short RSA keys in a list of `gpg --with-colons` (GnuPG, doc/DETAILS).
fn check_length(listed: &str) -> Result<()> {
    let key = listed.lines().find(|line| line.starts_with("pub:")).unwrap_or_default();
    let mut fields = key.split(':').skip(2);
    let (bits, kind) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
    match (kind, bits.parse::<u32>()) {
        ("1" | "3", Ok(bits)) if bits < RSA_BITS => {
            Err(Error::user(format!("RSA key too short: {bits} bits")))
        }
        (_, Ok(_)) => Ok(()),
        _ => Err(Error::user("the key that signed cannot be looked at")),
    }
}

/// Type and key of the first line of `authorized_keys`, which may have options before and a comment behind.
fn ssh_key(keys: &str) -> Option<String> {
    let line = keys.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'))?;
    let mut words = line.split_whitespace();
    let kind = words.find(|word| ["ssh-", "ecdsa-", "sk-"].iter().any(|begin| word.starts_with(begin)))?;
    Some(format!("{kind} {}", words.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gpg_tells_decides() {
        let valid = "[GNUPG:] VALIDSIG AAAA 2020-01-01 100 0 4 0 22 8 00 BBBB";
        let expired = format!("[GNUPG:] KEYEXPIRED 200\n[GNUPG:] EXPKEYSIG AA me\n{valid}");
        for (status, reject_expired, want) in [
            (valid.to_owned(), true, "AAAA"),
            (expired.clone(), false, "AAAA"),
            (expired, true, "signature by AA: it or its key expired"),
            (format!("[GNUPG:] KEYEXPIRED 50\n{valid}"), false, "the key had expired before it signed"),
            (format!("[GNUPG:] BADSIG AA me\n{valid}"), false, "signature by AA: it is of other data"),
            (format!("[GNUPG:] REVKEYSIG AA me\n{valid}"), false, "signature by AA: key revoked"),
            ("[GNUPG:] ERRSIG AA 22 8 00 100 9 CC".into(), false, "signature by AA: no such key was given"),
            (valid.replace(" 8 00", " 2 00"), false, "rejecting weak or unknown hash 2"),
            (valid.replace(" 22 8", " 17 8"), false, "rejecting unsupported pubkey algorithm 17"),
            (valid.replace(" 100 ", " 9999 "), false, "signature creation time is in the future"),
            ("gpg: nothing".into(), false, "no signature packet found"),
        ] {
            let got = judge(&status, reject_expired, 1000).map_or_else(|e| e.to_string(), str::to_owned);
            assert_eq!(got, want, "{status}");
        }
    }

    #[test]
    fn short_keys_are_refused() {
        let check = |line: &str| check_length(&format!("tru::1:1\n{line}\nfpr:::\n")).is_ok();
        assert!(check("pub:-:255:22:AA:1:::-:::scSC::::::23::0:"));
        assert!(check("pub:-:3072:1:AA:1:::-:::scSC::::::23::0:"));
        assert!(!check("pub:-:1024:1:AA:1:::-:::scSC::::::23::0:"));
        assert!(!check(""));
    }

    #[test]
    fn keys_of_ssh_are_found_among_options() {
        let check = |text: &str, want: Option<&str>| assert_eq!(ssh_key(text).as_deref(), want, "{text}");
        check("ssh-ed25519 AAA me@here", Some("ssh-ed25519 AAA"));
        check("# mine\n\nno-pty,command=\"x\" ecdsa-sha2-nistp256 BBB", Some("ecdsa-sha2-nistp256 BBB"));
        check("-----BEGIN PGP PUBLIC KEY BLOCK-----", None);
    }
}
