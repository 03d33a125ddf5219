FROM r-base:4.5.0
RUN R -e "install.packages(c('dplyr', 'ggplot2'), repos='https://cloud.r-project.org/')" \
    && R -e 'stopifnot(require("dplyr"))'
COPY analysis.R /
CMD ["Rscript", "/analysis.R"]
