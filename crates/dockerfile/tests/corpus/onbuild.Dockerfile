FROM node:22
ONBUILD ARG NODE_ENV=production
ONBUILD ENV NODE_ENV $NODE_ENV
onbuild copy package.json /usr/src/app/
ONBUILD run npm install && \
   npm cache clean --force
ONBUILD COPY . /usr/src/app
onbuild RUN <<EOF
echo built
EOF
CMD [ "npm", "start" ]
