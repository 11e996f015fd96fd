package schemas_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/rossby-streams/rossby/internal/propertytest"
)

func TestMain(m *testing.M) {
	if err := propertytest.Cases(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}
