# Rules that every policy may use, named as in buildx. They look at signatures that somebody else has checked.
package docker

docker_github_builder(image, repo) if {
	image.hasProvenance
	some signature in image.signatures
	docker_github_builder_signature(signature, repo)
}

docker_github_builder_tag(image, repo, tag) if {
	docker_github_builder(image, repo)
	wanted := concat("/", ["refs", "tags", tag])
	some signature in image.signatures
	signature.signer.sourceRepositoryRef == wanted
}

docker_github_builder_signature(signature, repo) if {
	[signature.kind, signature.type] == ["docker-github-builder", "bundle-v0.3"]
	signer := signature.signer
	signer.issuer == "https://token.actions.githubusercontent.com"
	signer.certificateIssuer == "CN=sigstore-intermediate,O=sigstore.dev"
	signer.runnerEnvironment == "github-hosted"
	signer.sourceRepositoryURI == concat("", ["https://github.com/", repo])
	count(signature.timestamps) != 0
}

docker_github_builder_bundle(http, filename, repo) if {
	docker_github_builder_signature(artifact_attestation(http, filename), repo)
}

github_release_attestation(http) := github_attestation(http, repo) if {
	[http.schema, lower(http.host)] == ["https", "github.com"]
	["", owner, name, "releases", "download", tag, file] = array.slice(split(http.path, "/"), 0, 7)
	not "" in {owner, name, tag, file}
	repo := concat("/", [owner, name])
}
