FROM php:8.4-fpm-alpine
RUN set -eux; \
	apk add --no-cache --virtual .build-deps $PHPIZE_DEPS icu-dev; \
	docker-php-ext-install -j"$(nproc)" intl opcache; \
	runDeps="$( \
		scanelf --needed --nobanner --format '%n#p' --recursive /usr/local \
			| tr ',' '\n' \
			| sort -u \
	)"; \
	apk add --no-cache $runDeps; \
	apk del .build-deps
COPY --from=composer:2 /usr/bin/composer /usr/bin/composer
VOLUME /var/www/html
STOPSIGNAL SIGQUIT
