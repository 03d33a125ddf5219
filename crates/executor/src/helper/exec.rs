//! The last step: finding the program and becoming it.

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, FileType};
use rustix::io::Errno;

use crate::Process;

/// Why a program was not executed, in the words of runc, with a shell's exit code.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoExec {
    pub code: u32,
    pub message: String,
}

const NOT_FOUND: u32 = 127;
const NOT_EXECUTABLE: u32 = 126;

/// Becomes the program, which is looked up as the current user, from the current directory.
pub(super) fn execute(process: &Process, env: &[String]) -> NoExec {
    let program = match find(&process.args[0], env) {
        Ok(program) => program,
        Err(e) => {
            return NoExec { message: format!("unable to start container process: {}", e.message), ..e };
        }
    };
    let args = c_strings(&process.args);
    let env = c_strings(env);
    let path = CString::new(program.as_os_str().as_bytes()).unwrap_or_default();
    let errno = execve(&path, &args, &env);
    let code = if errno == Errno::NOENT { NOT_FOUND } else { NOT_EXECUTABLE };
    NoExec { code, message: format!("exec {}: {}", program.display(), text(errno)) }
}

/// A name with a slash is a path; any other is looked up in `PATH`.
fn find(name: &str, env: &[String]) -> Result<PathBuf, NoExec> {
    if name.contains('/') {
        return match check(Path::new(name)) {
            Ok(()) => Ok(name.into()),
            Err(Errno::NOENT) => {
                let message = format!("exec: {name:?}: stat {name}: {}", text(Errno::NOENT));
                Err(NoExec { code: NOT_FOUND, message })
            }
            Err(e) => Err(NoExec { code: NOT_EXECUTABLE, message: format!("exec: {name:?}: {}", text(e)) }),
        };
    }
    // The last one counts, as it does for the program itself.
    let path = env.iter().rev().find_map(|e| e.strip_prefix("PATH=")).unwrap_or_default();
    let dirs = path.split(':').map(|dir| if dir.is_empty() { "." } else { dir });
    let found =
        dirs.map(|dir| Path::new(dir).join(name)).find(|file| !name.is_empty() && check(file).is_ok());
    let missing = || format!("exec: {name:?}: executable file not found in $PATH");
    found.ok_or_else(|| NoExec { code: NOT_FOUND, message: missing() })
}

/// A file that the current user may execute.
fn check(file: &Path) -> Result<(), Errno> {
    let stat = rustix::fs::stat(file)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        return Err(Errno::ISDIR);
    }
    // Root may, by access(2), as soon as anybody may.
    rustix::fs::access(file, Access::EXEC_OK)
}

fn c_strings(strings: &[String]) -> Vec<CString> {
    // Those with a NUL inside were refused before they came here.
    strings.iter().filter_map(|s| CString::new(s.as_str()).ok()).collect()
}

fn execve(path: &CStr, args: &[CString], env: &[CString]) -> Errno {
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (args, env) = (pointers(args), pointers(env));
    // SAFETY: both lists end with a null pointer, and their strings live through the call, which only returns when it
    // has failed.
    unsafe { libc::execve(path.as_ptr(), args.as_ptr(), env.as_ptr()) };
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::NOEXEC)
}

/// The text of an error as Go prints it: without a number, in small letters.
pub(super) fn text(errno: Errno) -> String {
    let text = std::io::Error::from(errno).to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    chars.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(chars).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn lookup() {
        let dir = tempfile::tempdir().expect("tempdir");
        let at = |p: &str| dir.path().join(p).display().to_string();
        for (name, mode) in [("plain", 0o644), ("run", 0o755)] {
            fs::write(at(name), "").expect("write");
            fs::set_permissions(at(name), Permissions::from_mode(mode)).expect("chmod");
        }
        fs::create_dir(at("sub")).expect("mkdir");
        let env = ["PATH=/nowhere".to_owned(), format!("PATH=/nowhere:{}", dir.path().display())];
        let check = |name: &str, expected: Result<&str, (u32, &str)>| {
            let got = find(name, &env).map_err(|e| (e.code, e.message.replace(&at(""), "")));
            assert_eq!(got, expected.map(PathBuf::from).map_err(|(c, m)| (c, m.to_owned())), "{name}");
        };
        check("run", Ok(&at("run")));
        check(&at("run"), Ok(&at("run")));
        check("plain", Err((127, "exec: \"plain\": executable file not found in $PATH")));
        check("sub", Err((127, "exec: \"sub\": executable file not found in $PATH")));
        check("", Err((127, "exec: \"\": executable file not found in $PATH")));
        check(&at("none"), Err((127, "exec: \"none\": stat none: no such file or directory")));
        check(&at("plain"), Err((126, "exec: \"plain\": permission denied")));
        check(&at("sub"), Err((126, "exec: \"sub\": is a directory")));
    }
}
