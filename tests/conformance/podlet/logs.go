package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"log"
	"math/big"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"time"
)

// Where a kubelet is asked for the logs of its containers.
const logsPort = 10250

// serveLogs answers as a kubelet does, with all that a container wrote: the API
// server asks it when somebody reads the logs of a Pod. It is not asked who it is.
func (p *podlet) serveLogs() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.ParseIP(p.nodeIP)},
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	listener, err := tls.Listen("tcp", net.JoinHostPort(p.nodeIP, strconv.Itoa(logsPort)), &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{certificate}, PrivateKey: key}},
	})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", func(w http.ResponseWriter, r *http.Request) {
		folder := r.PathValue("namespace") + "_" + r.PathValue("pod")
		http.ServeFile(w, r, filepath.Join(p.dir, "logs", folder, r.PathValue("container")+".log"))
	})
	go func() { log.Printf("logs: %v", http.Serve(listener, mux)) }()
	return nil
}
