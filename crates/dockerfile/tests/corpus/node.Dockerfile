# syntax=docker/dockerfile:1
FROM node:22-bookworm-slim AS deps
WORKDIR /app
COPY package.json package-lock.json ./
RUN --mount=type=cache,target=/root/.npm \
  npm ci --omit=dev

FROM deps AS build
COPY . .
RUN npm run build


FROM gcr.io/distroless/nodejs22-debian12
COPY --from=build --chown=nonroot:nonroot /app/dist /app
CMD ["/app/server.js"]
