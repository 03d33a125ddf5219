FROM maven:3-eclipse-temurin-21 AS build
WORKDIR /build
COPY pom.xml .
RUN mvn -B dependency:go-offline
COPY src ./src
RUN mvn -B package -DskipTests \
	&& mv target/*.jar app.jar
FROM eclipse-temurin:21-jre
ENV JAVA_OPTS="-XX:MaxRAMPercentage=75 \
-XX:+UseG1GC"
COPY --from=build /build/app.jar /app.jar
HEALTHCHECK --interval=30s --timeout=3s cmd curl -fs http://localhost:8080/health || exit 1
ENTRYPOINT exec java $JAVA_OPTS -jar /app.jar
