FROM alpine
RUN echo a \
# a comment within
    && echo b \

    && echo c \ 
	# indented comment
    && echo d
RUN echo one\
two \
  three
RUN \
  true
run true \
&& false || \
  true
