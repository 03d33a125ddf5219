FROM	alpine	AS	t
RUN	apk add --no-cache \
		bash \
		curl
COPY	a	b	/c/
ENV	X=1	Y=2
