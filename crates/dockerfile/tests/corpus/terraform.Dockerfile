FROM hashicorp/terraform:1.11 AS tf
FROM alpine:3.22
COPY --from=tf /bin/terraform /bin/
RUN apk add --no-cache aws-cli jq git openssh-client
ENTRYPOINT ["/bin/terraform"]
