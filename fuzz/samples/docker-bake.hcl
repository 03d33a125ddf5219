# What many bake files have.
variable "TAG" {
  type = string
  default = "1.${2 + 3}"
  validation {
    condition = TAG != ""
    error_message = "no tag"
  }
}
function "name" {
  params = [a]
  variadic_params = rest
  result = join("-", concat([a], rest))
}
group "default" { targets = ["app", "test"] }
target "base" {
  args = { A = null, B = upper("b"), C = [for x in ["a", "b"] : x if x != "b"][0] }
  dockerfile-inline = <<-EOT
    FROM scratch
    %{ for i, v in split(",", "x,y") ~}
    RUN ${i}${v}
    %{ endfor ~}
  EOT
}
target "app" {
  name = sanitize("app-${v}")
  matrix = { v = ["1.0", "2"] }
  inherits = ["base"]
  tags = ["me/app:${v}-${TAG}", try(nope, "")]
  output = [{ type = "image", push = true }, "type=docker"]
  platforms = v == "2" ? ["linux/amd64", "linux/arm64"] : []
}
target "test" {
  contexts = { app = "target:app-2" }
  args = merge(target.base.args, { D = jsonencode({ a = format("%05.2f", 1 / 3) }), E = regex("(\\d+)", "a12")[0] })
  secret = ["id=s,env=S"]
  labels = { n = name("x", "y"), s = substr("héllo", 1, -1), t = formatdate("YYYY", "2020-01-01T00:00:00Z") }
}
