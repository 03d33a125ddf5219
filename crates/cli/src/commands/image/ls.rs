//! What images there are.

use client::Image;
use errdefs::{Error, Result};
use jiff::Timestamp;
use oci::Reference;
use serde_json::{Value, json};

use crate::args::ImageLsArgs;
use crate::console;
use crate::engine::{Place, connect};
use crate::flags::{human_duration, human_size};
use crate::table::Table;
use crate::template::Template;

enum Form {
    Table,
    Ids,
    Each(Template),
}

/// Lists images.
pub(super) async fn ls(args: &ImageLsArgs, place: &Place) -> Result<()> {
    let form = form(args)?;
    let images = connect(place).await?.images().await?;
    console::out(draw(&images, &form, Timestamp::now())?)
}

fn form(args: &ImageLsArgs) -> Result<Form> {
    match (args.format.as_deref(), args.quiet) {
        (Some(_), true) => Err(Error::user("--format and --quiet cannot be used together")),
        (None, true) => Ok(Form::Ids),
        (None | Some("" | "table"), _) => Ok(Form::Table),
        (Some(template), _) => Template::parse(template, &[]).map(Form::Each),
    }
}

fn draw(images: &[Image], form: &Form, now: Timestamp) -> Result<String> {
    match form {
        Form::Table => Ok(table(images, now)),
        Form::Ids => Ok(images.iter().map(|image| format!("{}\n", short_id(image))).collect()),
        Form::Each(template) => {
            images.iter().map(|image| Ok(template.fill(&to_json(image))? + "\n")).collect()
        }
    }
}

fn table(images: &[Image], now: Timestamp) -> String {
    let mut table = Table::default();
    table.row(["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"].map(str::to_owned));
    for image in images {
        let (repository, tag) = parts(&image.name);
        let created = format!("{} ago", human_duration(now.duration_since(image.updated_at).as_secs()));
        table.row([repository, tag, short_id(image), created, human_size(image.size)]);
    }
    table.to_string()
}

fn to_json(image: &Image) -> Value {
    let (repository, tag) = parts(&image.name);
    json!({
        "Name": image.name,
        "Repository": repository,
        "Tag": tag,
        "ID": image.config_digest,
        "Digest": image.digest,
        "CreatedAt": image.updated_at.to_string(),
        "Size": image.size,
        "Platforms": image.platforms,
    })
}

/// Repository and tag, as people write them.
fn parts(name: &str) -> (String, String) {
    match name.parse::<Reference>() {
        Ok(name) => (name.familiar_name(), name.tag().unwrap_or("<none>").to_owned()),
        Err(_) => (name.to_owned(), "<none>".to_owned()),
    }
}

/// Twelve digits, as Docker shows them.
fn short_id(image: &Image) -> String {
    let digest = if image.config_digest.is_empty() { &image.digest } else { &image.config_digest };
    let hex = digest.split_once(':').map_or(digest.as_str(), |(_, hex)| hex);
    hex.chars().take(12).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(form: &Form, expected: &str) {
        let at = |second| Timestamp::from_second(second).expect("in range");
        let image = |name: &str, config: char, size| Image {
            name: name.into(),
            digest: format!("sha256:{}", "d".repeat(64)),
            config_digest: format!("sha256:{}", config.to_string().repeat(64)),
            updated_at: at(1_800_000_000 - 7200),
            size,
            platforms: vec!["linux/amd64".into()],
        };
        let mut damaged = image("reg.io/me/app@sha256:0", 'b', 0);
        (damaged.config_digest, damaged.platforms) = (String::new(), Vec::new());
        let images = [image("docker.io/library/app:latest", 'a', 3_500_000), damaged];
        assert_eq!(draw(&images, form, at(1_800_000_000)).expect("drawn"), expected);
    }

    #[test]
    fn as_table() {
        check(
            &Form::Table,
            "REPOSITORY              TAG     IMAGE ID        CREATED         SIZE\n\
             app                     latest  aaaaaaaaaaaa    2 hours ago     3.5MB\n\
             reg.io/me/app@sha256:0  <none>  dddddddddddd    2 hours ago     0B\n",
        );
    }

    #[test]
    fn as_ids() {
        check(&Form::Ids, "aaaaaaaaaaaa\ndddddddddddd\n");
    }

    #[test]
    fn as_template() {
        let template = Template::parse("{{.Repository}} {{.Size}}", &[]).expect("a template");
        check(&Form::Each(template), "app 3500000\nreg.io/me/app@sha256:0 0\n");
    }
}
