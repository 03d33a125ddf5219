//! What images there are.

use client::Image;
use errdefs::{Error, Result};
use jiff::Timestamp;
use oci::Reference;
use serde_json::{Value, json};

use crate::args::ImageLsArgs;
use crate::console;
use crate::engine::Builder;
use crate::flags::{human_duration, human_size};
use crate::table::Table;
use crate::template::Template;

enum Form {
    Table,
    Ids,
    Each(Template),
}

/// An image, and the node that has it, where there are several.
struct Row {
    image: Image,
    node: Option<String>,
}

/// Lists images of all nodes.
pub(super) async fn ls(args: &ImageLsArgs, builder: &Builder) -> Result<()> {
    let form = form(args)?;
    let several = builder.nodes.len() > 1;
    let answers = builder.ask(None, async |client| client.images().await).await?;
    let rows = answers.into_iter().flat_map(|(reached, images)| {
        let node = several.then_some(reached.node);
        images.into_iter().map(move |image| Row { image, node: node.clone() })
    });
    console::out(draw(&Vec::from_iter(rows), &form, several, Timestamp::now())?)
}

fn form(args: &ImageLsArgs) -> Result<Form> {
    match (args.format.as_deref(), args.quiet) {
        (Some(_), true) => Err(Error::user("--format and --quiet cannot be used together")),
        (None, true) => Ok(Form::Ids),
        (None | Some("" | "table"), _) => Ok(Form::Table),
        (Some(template), _) => Template::parse(template, &[]).map(Form::Each),
    }
}

fn draw(rows: &[Row], form: &Form, several: bool, now: Timestamp) -> Result<String> {
    match form {
        Form::Table => Ok(table(rows, several, now)),
        Form::Ids => Ok(rows.iter().map(|row| format!("{}\n", short_id(&row.image))).collect()),
        Form::Each(template) => rows.iter().map(|row| Ok(template.fill(&to_json(row))? + "\n")).collect(),
    }
}

fn table(rows: &[Row], several: bool, now: Timestamp) -> String {
    let mut table = Table::default();
    let head = ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"].into_iter();
    table.row(head.chain(several.then_some("NODE")).map(str::to_owned));
    for Row { image, node } in rows {
        let (repository, tag) = parts(&image.name);
        let created = format!("{} ago", human_duration(now.duration_since(image.updated_at).as_secs()));
        let row = [repository, tag, short_id(image), created, human_size(image.size)];
        table.row(row.into_iter().chain(node.clone()));
    }
    table.to_string()
}

fn to_json(Row { image, node }: &Row) -> Value {
    let (repository, tag) = parts(&image.name);
    let mut told = json!({
        "Name": image.name,
        "Repository": repository,
        "Tag": tag,
        "ID": image.config_digest,
        "Digest": image.digest,
        "CreatedAt": image.updated_at.to_string(),
        "Size": image.size,
        "Platforms": image.platforms,
    });
    if let Some(node) = node {
        told["Node"] = node.as_str().into();
    }
    told
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

    fn check(form: &Form, nodes: &[&str], expected: &str) {
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
        let nodes = nodes.iter().map(|node| Some((*node).to_owned())).chain([None, None]);
        let rows: Vec<_> = images.into_iter().zip(nodes).map(|(image, node)| Row { image, node }).collect();
        let several = rows[0].node.is_some();
        assert_eq!(draw(&rows, form, several, at(1_800_000_000)).expect("drawn"), expected);
    }

    #[test]
    fn as_table() {
        check(
            &Form::Table,
            &[],
            "REPOSITORY              TAG     IMAGE ID        CREATED         SIZE\n\
             app                     latest  aaaaaaaaaaaa    2 hours ago     3.5MB\n\
             reg.io/me/app@sha256:0  <none>  dddddddddddd    2 hours ago     0B\n",
        );
    }

    #[test]
    fn as_table_of_several_nodes() {
        check(
            &Form::Table,
            &["b0", "b1"],
            "REPOSITORY              TAG     IMAGE ID        CREATED         SIZE    NODE\n\
             app                     latest  aaaaaaaaaaaa    2 hours ago     3.5MB   b0\n\
             reg.io/me/app@sha256:0  <none>  dddddddddddd    2 hours ago     0B      b1\n",
        );
    }

    #[test]
    fn as_ids() {
        check(&Form::Ids, &[], "aaaaaaaaaaaa\ndddddddddddd\n");
    }

    #[test]
    fn as_template() {
        let template = Template::parse("{{.Repository}} {{.Size}}", &[]).expect("a template");
        check(&Form::Each(template), &[], "app 3500000\nreg.io/me/app@sha256:0 0\n");
    }
}
