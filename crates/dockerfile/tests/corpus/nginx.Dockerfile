FROM nginx:1.29-alpine
RUN rm /etc/nginx/conf.d/default.conf
COPY nginx.conf /etc/nginx/conf.d
COPY --from=node:22 /usr/local/bin/node /usr/local/bin/node
EXPOSE 80
CMD ["nginx", "-g", "daemon off;"]
