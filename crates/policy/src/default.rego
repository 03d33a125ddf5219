# Images of Docker's own that builds load by themselves. buildx wants a signature for those whose tags name releases that are
# signed; here nobody can check one, so these are denied unless they are named by digest. All else passes.
package docker

signed_since := {
	"docker.io/docker/dockerfile": [1, 21],
	"docker.io/docker/dockerfile-upstream": [1, 21],
	"docker.io/docker/buildkit-syft-scanner": [1, 10],
	"docker.io/moby/buildkit": [0, 27],
}

floating := {
	"docker.io/docker/dockerfile": {"latest", "labs", "master"},
	"docker.io/docker/dockerfile-upstream": {"latest", "labs", "master"},
	"docker.io/docker/buildkit-syft-scanner": {"latest"},
	"docker.io/moby/buildkit": {
		"latest", "latest-ubuntu", "rootless", "master", "master-rootless", "master-ubuntu",
		"nightly", "nightly-rootless", "nightly-ubuntu",
	},
}

# A tag without its variant. Releases of BuildKit begin with a `v`.
version(repo, tag) := parts if {
	repo == "docker.io/moby/buildkit"
	matches := regex.find_all_string_submatch_n(`^v(\d+)\.(\d+)\.\d+(-rc\d+)?(-rootless|-ubuntu)?$`, tag, 1)
	parts := [to_number(matches[0][1]), to_number(matches[0][2])]
}

version(repo, tag) := parts if {
	repo != "docker.io/moby/buildkit"
	matches := regex.find_all_string_submatch_n(`^(\d+)\.(\d+)(\.\d+)?(-labs)?$`, tag, 1)
	parts := [to_number(matches[0][1]), to_number(matches[0][2])]
}

# The newest of that line.
version(repo, tag) := [to_number(matches[0][1]), 999999] if {
	repo != "docker.io/moby/buildkit"
	matches := regex.find_all_string_submatch_n(`^(\d+)(-labs)?$`, tag, 1)
}

wants_signature if input.image.tag in floating[input.image.fullRepo]

wants_signature if version(input.image.fullRepo, input.image.tag) >= signed_since[input.image.fullRepo]

wants_signature if {
	input.image.fullRepo == "docker.io/moby/buildkit"
	regex.match(`^buildx-stable-\d+(-rootless|-gpu)?$`, input.image.tag)
}

deny_msg contains msg if {
	wants_signature
	not input.image.isCanonical
	msg := sprintf("image %s is not allowed by default policy: a verified docker-github-builder signature is required for %s tag, which Kiln cannot verify; name the image by digest", [input.image.ref, input.image.tag])
}

decision := {"allow": count(deny_msg) == 0, "deny_msg": [msg | some msg in deny_msg]}
