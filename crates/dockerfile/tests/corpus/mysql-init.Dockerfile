FROM mysql:8
COPY <<-SQL /docker-entrypoint-initdb.d/init.sql
	CREATE DATABASE app;
	-- ${MYSQL_VERSION} is expanded
	SQL
ENV MYSQL_DATABASE=app MYSQL_RANDOM_ROOT_PASSWORD=1
