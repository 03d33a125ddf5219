From alpine As Base
Run echo hi
Copy a /b
From base
Env X=1
