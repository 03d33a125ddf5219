######################
# Build stage        #
######################
#
FROM alpine AS build

#----- tools -----
RUN apk add --no-cache make


#
# about the copy
#

COPY . .
RUN make
######################
# Final              #
######################

FROM alpine
COPY --from=build /out /out
# the end
