FROM sbtscala/scala-sbt:eclipse-temurin-21_1.10.0_3.4.2 AS build
COPY build.sbt ./
COPY project project
RUN sbt update
COPY . .
RUN sbt assembly
