FROM archlinux:base-devel
RUN pacman -Syu --noconfirm git && pacman -Scc --noconfirm
RUN useradd -m builder && \
    echo 'builder ALL=(ALL) NOPASSWD: ALL' >> /etc/sudoers
USER builder
RUN git clone https://aur.archlinux.org/yay.git ~/yay && cd ~/yay && makepkg -si --noconfirm
