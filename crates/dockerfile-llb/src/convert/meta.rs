//! Instructions that change the image config, and WORKDIR.

use dockerfile::instruction::{CommandLine, Healthcheck, KeyValue};
use dockerfile::lint::rules;
use dockerfile::{Error, Kind, Result, go};
use errdefs::Range;
use llb::MkDir;

use super::dispatch::Dispatch;
use super::names;
use crate::draft::{About, Action, ActionKind};
use crate::image::{self, Layer};
use crate::{path, windows};

/// Carries out an instruction that makes no layer.
pub(super) fn apply(d: &mut Dispatch<'_>, kind: Kind, keyword: &str, ranges: &[Range]) -> Result<()> {
    if let Kind::Env(pairs) | Kind::Label(pairs) = &kind
        && pairs.iter().any(|p| p.legacy)
    {
        let message = format!(
            "\"{keyword} key=value\" should be used instead of legacy \"{keyword} key value\" format"
        );
        d.find(rules::LEGACY_KEY_VALUE_FORMAT, message, ranges);
    }
    if let Kind::Env(pairs) = &kind {
        pairs.iter().for_each(|pair| d.find_secret("ENV", &pair.key, ranges));
    }
    let text = match kind {
        Kind::Env(pairs) => env(d, pairs),
        Kind::Label(pairs) => label(d, pairs),
        Kind::Maintainer(name) => {
            d.stage.image.author.clone_from(&name);
            format!("MAINTAINER {name}")
        }
        Kind::Onbuild(trigger) => {
            d.stage.image.config.on_build.push(trigger);
            return Ok(());
        }
        Kind::Cmd(command) => {
            let args = command_args(d, "CMD", &command, keyword, ranges);
            let text = format!("CMD {}", go::quote_list(&args));
            d.stage.image.config.cmd = Some(args);
            d.stage.image.config.args_escaped = true;
            text
        }
        Kind::Entrypoint(command) => {
            let args = command_args(d, "ENTRYPOINT", &command, keyword, ranges);
            let text = format!("ENTRYPOINT {}", go::quote_list(&args));
            d.stage.image.config.entrypoint = Some(args);
            // The command of the base was meant for the entrypoint of the base.
            if !d.stage.seen.contains_key("CMD") {
                d.stage.image.config.cmd = None;
            }
            text
        }
        Kind::Healthcheck(check) => {
            once(d, "HEALTHCHECK", keyword, ranges);
            healthcheck(d, check)
        }
        Kind::User(user) => {
            d.stage.image.config.user.clone_from(&user);
            d.stage.state.user.clone_from(&user);
            format!("USER {user}")
        }
        Kind::Volume(volumes) => {
            if volumes.iter().any(String::is_empty) {
                return Err(Error::new("VOLUME specified can not be an empty string"));
            }
            image::insert_all(&mut d.stage.image.config.volumes, &volumes);
            format!("VOLUME {}", go::list(&volumes))
        }
        Kind::StopSignal(signal) => {
            if !is_signal(&signal) {
                return Err(Error::new(format!("invalid signal: {signal}")).about(&signal));
            }
            d.stage.image.config.stop_signal.clone_from(&signal);
            format!("STOPSIGNAL {signal}")
        }
        Kind::Shell(shell) => {
            d.stage.image.config.shell.clone_from(&shell);
            format!("SHELL {}", go::list(&shell))
        }
        Kind::Add(_) | Kind::Arg(_) | Kind::Copy(_) | Kind::Expose(_) | Kind::Run(_) | Kind::Workdir(_) => {
            return Ok(());
        }
    };
    d.note(text, Layer::None);
    Ok(())
}

fn env(d: &mut Dispatch<'_>, pairs: Vec<KeyValue>) -> String {
    let mut text = "ENV".to_owned();
    for KeyValue { key, value, .. } in pairs {
        text.push_str(&format!(" {key}={value}"));
        image::set_env(&mut d.stage.image.config.env, &key, &value);
        d.stage.state.env.set(&key, &value);
    }
    text
}

fn label(d: &mut Dispatch<'_>, pairs: Vec<KeyValue>) -> String {
    let mut text = "LABEL".to_owned();
    let labels = d.stage.image.config.labels.get_or_insert_default();
    for KeyValue { key, value, .. } in pairs {
        text.push_str(&format!(" {key}={value}"));
        labels.insert(key, value);
    }
    text
}

/// The arguments of CMD or ENTRYPOINT.
fn command_args(
    d: &mut Dispatch<'_>,
    name: &'static str,
    command: &CommandLine,
    keyword: &str,
    ranges: &[Range],
) -> Vec<String> {
    once(d, name, keyword, ranges);
    if command.shell && d.stage.image.config.shell.is_empty() {
        let message = format!(
            "JSON arguments recommended for {keyword} to prevent unintended behavior related to OS signals"
        );
        d.find(rules::JSON_ARGS_RECOMMENDED, message, ranges);
    }
    d.arguments(command)
}

fn healthcheck(d: &mut Dispatch<'_>, check: Healthcheck) -> String {
    let text = format!("HEALTHCHECK {}", health_text(&check));
    d.stage.image.config.healthcheck = Some(oci::Healthcheck {
        test: check.test,
        interval: check.interval,
        timeout: check.timeout,
        start_period: check.start_period,
        start_interval: check.start_interval,
        retries: check.retries,
    });
    text
}

/// Of some instructions only the last in a stage counts. The finding is about the one before.
fn once(d: &mut Dispatch<'_>, name: &'static str, keyword: &str, ranges: &[Range]) {
    if let Some(earlier) = d.stage.seen.insert(name, ranges.to_vec()) {
        let message = format!(
            "Multiple {keyword} instructions should not be used in the same stage because only the last one will be used"
        );
        d.find(rules::MULTIPLE_INSTRUCTIONS_DISALLOWED, message, &earlier);
    }
}

fn health_text(check: &Healthcheck) -> String {
    let time = go::format_duration;
    format!(
        "{{Test:{} Interval:{} Timeout:{} StartPeriod:{} StartInterval:{} Retries:{}}}",
        go::list(&check.test),
        time(check.interval),
        time(check.timeout),
        time(check.start_period),
        time(check.start_interval),
        check.retries,
    )
}

/// A number other than 0, or the name of a Linux signal with or without `SIG`.
fn is_signal(text: &str) -> bool {
    const NAMES: [&str; 35] = [
        "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL",
        "PIPE", "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP",
        "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN",
    ];
    if let Ok(number) = text.parse::<i64>() {
        return number != 0;
    }
    let upper = text.to_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let offset = |rest: &str, limit: u32| {
        rest.parse::<u32>().is_ok_and(|n| (1..=limit).contains(&n) && !rest.starts_with(['0', '+']))
    };
    NAMES.contains(&name)
        || name == "RTMAX"
        || name.strip_prefix("RTMIN+").is_some_and(|rest| offset(rest, 15))
        || name.strip_prefix("RTMAX-").is_some_and(|rest| offset(rest, 14))
}

impl Dispatch<'_> {
    /// Relative folders start from the one before.
    pub(super) fn change_dir(&mut self, dir: &str) -> Result<()> {
        let before = self.slashed(&self.stage.image.config.working_dir)?;
        let dir = path::normalize(&before, &self.slashed(dir)?, false);
        self.stage.image.config.working_dir = match &self.stage.platform {
            Some(platform) if platform.os == windows::OS => windows::from_slashes(&dir),
            _ => dir.clone(),
        };
        self.stage.state.dir = dir;
        Ok(())
    }

    /// Changes the folder and makes it, as a layer of its own.
    pub(super) fn workdir(&mut self, dir: &str, code: &str, ranges: Vec<Range>) -> Result<()> {
        if !self.stage.workdir_set && !self.slashed(dir)?.starts_with('/') {
            let message = format!(
                "Relative workdir {} can have unexpected results if the base image changes",
                go::quote(dir)
            );
            self.find(rules::WORKDIR_RELATIVE_PATH, message, &ranges);
        }
        self.stage.workdir_set = true;
        self.change_dir(dir)?;
        let dir = self.stage.state.dir.clone();
        let layer = if dir == "/" { Layer::None } else { Layer::One };
        if layer == Layer::One {
            let timestamp =
                self.shared.epoch.as_ref().map_or(llb::NONE, |(s, _)| s.saturating_mul(1_000_000_000));
            let kind = ActionKind::MkDir(MkDir {
                path: path::of_action(&dir, &dir, false),
                mode: 0o755,
                make_parents: true,
                owner: None,
                timestamp,
            });
            let action = Action::new(kind).owned_by(&self.stage.image.config.user);
            let about = self.step(code, ranges);
            self.stage.state.tree = Some(self.draft.file(self.stage.state.tree, vec![action], about));
        }
        self.note(format!("WORKDIR {dir}"), layer);
        Ok(())
    }

    /// The next step, named after its instruction.
    fn step(&mut self, code: &str, ranges: Vec<Range>) -> About {
        self.stage.count_step();
        let env = &self.stage.state.env;
        let shown = names::shown(&self.shared.lexer, code, env);
        let name = names::step(self.stage, &shown, self.shared, self.stage.platform.as_ref(), env);
        let mut about = About { ranges, ..About::default() };
        names::called(&mut about.metadata, name);
        about
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals() {
        for good in ["9", "TERM", "sigterm", "SIGRTMIN+15", "RTMAX-14", "RTMAX"] {
            assert!(is_signal(good), "{good}");
        }
        for bad in ["0", "", "SIGX", "RTMIN+16", "RTMIN+0", "RTMAX-15"] {
            assert!(!is_signal(bad), "{bad}");
        }
    }
}
