#escape=`

FROM mcr.microsoft.com/windows/nanoserver:ltsc2022
COPY testfile.txt c:\
RUN dir c:\
ENV A=1 `
  B=2 `
    C="x y"
ENTRYPOINT [ "c:\\app\\run.exe", `
  "-v" ]
