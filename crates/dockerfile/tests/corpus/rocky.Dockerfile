FROM rockylinux:9
RUN { echo '[repo]'; echo 'name=x'; } > /etc/yum.repos.d/x.repo \
 && yum -y install httpd \
 && yum clean all
CMD ["-D", "FOREGROUND"]
ENTRYPOINT ["/usr/sbin/httpd"]
