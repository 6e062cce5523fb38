package substituter

import (
	"flag"
	"os"
	"testing"
)

// Most of these tests wait for servers that are slow on purpose.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "24"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}
