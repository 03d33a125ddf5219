FROM perl:5.40
COPY cpanfile /usr/src/app/
WORKDIR /usr/src/app
RUN cpanm --installdeps --notest . || { cat ~/.cpanm/work/*/build.log; false; }
COPY . .
CMD [ "perl", "./script.pl" ]
