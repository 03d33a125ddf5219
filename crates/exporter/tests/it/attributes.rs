//! What is asked for wrongly is said, before anything is made.

use crate::world::{World, single};

#[tokio::test]
async fn wrong_attributes_are_told() {
    let world = World::new(Vec::new()).await;
    for (kind, attrs, expected) in [
        ("foo", "", "exporter \"foo\" could not be found"),
        (
            "image",
            "push=maybe",
            "non-bool value specified for push: strconv.ParseBool: parsing \"maybe\": invalid syntax",
        ),
        ("image", "compression=foo", "unsupported compression type foo"),
        (
            "image",
            "compression=estargz oci-mediatypes=false",
            "exporter option \"compression=estargz\" conflicts with \"oci-mediatypes=false\"",
        ),
        (
            "image",
            "compression-level=high",
            "non-integer value high specified for compression-level: invalid digit found in string",
        ),
        ("image", "force-compression=x", "non-bool value x specified for force-compression"),
        (
            "oci",
            "oci-artifact=true oci-mediatypes=false",
            "exporter option \"oci-artifact=true\" conflicts with \"oci-mediatypes=false\"",
        ),
        (
            "image",
            "oci-mediatypes",
            "non-bool value specified for oci-mediatypes: strconv.ParseBool: parsing \"\": invalid syntax",
        ),
        (
            "image",
            "rewrite-timestamp=true unpack=true",
            "exporter option \"rewrite-timestamp\" conflicts with \"unpack\"",
        ),
        ("image", "source-date-epoch=now", "invalid source-date-epoch: invalid digit found in string"),
        ("image", "nmae=x", "unknown attribute `nmae` of exporter `image`"),
        ("image", "annotation-blob.x=1", "unrecognized annotation type blob"),
        ("local", "mode=move", "invalid local exporter mode \"move\""),
        ("local", "platform-split=x", "non-bool value for platform-split: x"),
        ("tar", "name=x", "unknown attribute `name` of exporter `tar`"),
        (
            "image",
            "name=x/UP push-by-digest=true push=true",
            "failed to parse x/UP: invalid reference format: repository name (x/UP) must be lowercase",
        ),
        (
            "image",
            "name=x:tag push-by-digest=true push=true",
            "can't push tagged ref docker.io/library/x:tag by digest",
        ),
        ("image", "annotation-index.x=1", "index annotations not supported for single platform export"),
        (
            "image",
            "annotation-manifest-descriptor.x=1 oci-mediatypes=false",
            "cannot export annotations with \"oci-mediatypes=false\"",
        ),
    ] {
        let e = world.export(kind, attrs, &single(None, None)).await.expect_err(attrs);
        assert_eq!(e.to_string(), expected, "{kind} {attrs}");
        assert_eq!(e.class(), errdefs::Class::User);
    }
}

#[tokio::test]
async fn attributes_of_stock_clients_are_taken() {
    let world = World::new(Vec::new()).await;
    for attrs in [
        "buildinfo=true buildinfo-attrs=false",
        "context=default prefer-image-digest=true",
        "attestation-inline=true",
        "attest:provenance=mode=max",
        "containerimage.config.x=y",
        "unpack=false",
        "push=false",
    ] {
        world.export("image", attrs, &single(None, None)).await.expect(attrs);
    }
}
