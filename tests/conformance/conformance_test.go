// Package conformance compiles the official Gateway API suite into one test
// binary (go test -c). All flags are the suite's own; `conformance.test -h`
// lists them after the flags of go test.
package conformance

import (
	"testing"

	suite "sigs.k8s.io/gateway-api/conformance"
)

func TestConformance(t *testing.T) { suite.RunConformance(t) }
