package load

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/drone/drone-go/drone"
	plugin "github.com/drone/drone-go/plugin/secret"
)

const (
	sharedKey = "load-test-key-0123456789abcdef-0123456789"
	warmBuild = 1 << 40 // asks for the same over and over
)

// builds numbers all others, so that none is asked for twice.
var builds atomic.Int64

// pipeline is one of 20 steps with 5 secrets: one build that asks for the same few things.
func pipeline(build int64) (requests [][]byte) {
	for step := range 20 {
		for secret := range 5 {
			requests = append(requests, sign(request(build, secret, step)))
		}
	}
	return requests
}

// freshBuilds are n requests, each for another secret and of another build, so that nothing was read before.
func freshBuilds(n int) (requests [][]byte) {
	for range n {
		build := builds.Add(1)
		requests = append(requests, sign(request(build, int(build%coldNames), 0)))
	}
	return requests
}

// request is one that a runner sends for a push, with everything that Drone puts in. Builds take turns at the vaults.
func request(build int64, secret, step int) *plugin.Request {
	return &plugin.Request{
		Path: fmt.Sprintf("load-%d", build%vaults), Name: fmt.Sprintf("secret-%d", secret),
		Repo: drone.Repo{
			ID: 1, UID: "1", Namespace: "organisation-7", Name: "service-3", Slug: "organisation-7/service-3", Branch: "main", Active: true,
			HTTPURL: "https://git.example.test/organisation-7/service-3.git", Link: "https://git.example.test/organisation-7/service-3",
			Config: ".drone.yml", Timeout: 60, Secret: "QDpr0lQcTyeQ1L91DlXrsOL4WEPfFAHb",
		},
		Build: drone.Build{
			ID: build, Number: build, Status: "pending", Event: "push", Trigger: "@hook", Sender: "alice", Ref: "refs/heads/main",
			Source: "main", Target: "main", Before: "097dd6487fe74f026e81997819c66f8f26926b2d", After: "5d959da0aa172d38cddf6825dc7b766fcbbaeb61",
			Author: "alice", AuthorEmail: "alice@example.test", Message: "change a thing\n", Timestamp: int64(step),
			Stages: []*drone.Stage{{ID: 1, Number: 1, Name: "default", Kind: "pipeline", Type: "docker", Status: "pending", OS: "linux", Arch: "amd64"}},
		},
	}
}

// of makes the request that of another repository.
func of(r *plugin.Request, organisation, service int) *plugin.Request {
	r.Repo.Namespace, r.Repo.Name = fmt.Sprintf("organisation-%d", organisation), fmt.Sprintf("service-%d", service)
	r.Repo.Slug, r.Repo.UID = r.Repo.Namespace+"/"+r.Repo.Name, fmt.Sprintf("%d-%d", organisation, service)
	return r
}

// at asks for what another alias has.
func at(r *plugin.Request, alias string) *plugin.Request {
	r.Path = alias
	return r
}

// sign writes a request as drone-go's client does, down to the bytes on the wire.
func sign(r *plugin.Request) []byte {
	body, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	sum := sha256.Sum256(body)
	digest := "SHA-256=" + base64.StdEncoding.EncodeToString(sum[:])
	date := time.Now().UTC().Format(http.TimeFormat)
	mac := hmac.New(sha256.New, []byte(sharedKey))
	fmt.Fprintf(mac, "accept: %s\naccept-encoding: identity\ncontent-type: application/json\ndate: %s\ndigest: %s", plugin.V1, date, digest)
	return fmt.Appendf(nil, "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: %d\r\nAccept: %s\r\n"+
		"Accept-Encoding: identity\r\nContent-Type: application/json\r\nDate: %s\r\nDigest: %s\r\n"+
		"Signature: keyId=\"hmac-key\",algorithm=\"hmac-sha256\",signature=\"%s\",headers=\"accept accept-encoding content-type date digest\"\r\n\r\n%s",
		len(body), plugin.V1, date, digest, base64.StdEncoding.EncodeToString(mac.Sum(nil)), body)
}
