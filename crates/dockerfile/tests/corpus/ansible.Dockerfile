FROM fedora:42
RUN dnf install -y --setopt=install_weak_deps=False \
      ansible-core \
      openssh-clients \
      sshpass \
 && dnf clean all \
 && rm -rf /var/cache/dnf
COPY requirements.yml /tmp/
RUN ansible-galaxy install -r /tmp/requirements.yml
