// Package conformance compiles the official Gateway API suite into one test
// binary (go test -c). Flags are the suite's own, and -seed; `conformance.test -h`
// lists them after the flags of go test.
package conformance

import (
	"flag"
	"math/rand/v2"
	"sync"
	"testing"

	suite "sigs.k8s.io/gateway-api/conformance"
	"sigs.k8s.io/gateway-api/conformance/tests"
)

var seed = flag.Uint64("seed", 0,
	"run the tests in random order, another one each time, drawn from this number; 0 is the suite's own order")

// With -test.count=2 the second order goes on where the first one ended.
var orders = sync.OnceValue(func() *rand.Rand { return rand.New(rand.NewPCG(*seed, 0)) })

func TestConformance(t *testing.T) {
	if *seed != 0 {
		all := tests.ConformanceTests
		orders().Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	}
	suite.RunConformance(t)
}
