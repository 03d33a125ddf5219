


FROM alpine



RUN true




FROM alpine


