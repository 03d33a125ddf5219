// Counts words and says what it was built for.
package main

import (
	"fmt"
	"os"
	"runtime"
)

func main() {
	words := os.Args[1:]
	fmt.Printf("%d words on %s/%s: %q\n", len(words), runtime.GOOS, runtime.GOARCH, words)
}
