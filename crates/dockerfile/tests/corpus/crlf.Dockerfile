# escape=`
FROM windows as w
RUN dir `
  C:\
copy <<E /x
a
E
