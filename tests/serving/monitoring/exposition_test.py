"""The metrics page, byte for byte."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from serving.monitoring.exposition import render


def test_the_page():
    tf_serving, others = CollectorRegistry(), CollectorRegistry()
    labels = ("model_name", "status")
    requests = Counter(
        ":tensorflow:serving:request_count", "Requests.", labels, registry=tf_serving
    )
    requests.labels("recall", "OK").inc(3)
    requests.labels('a"b\\c\nd_total', "NOT_FOUND").inc()
    Counter("recall_answers", "Users answered.", registry=others).inc(1e9)
    Gauge("recall_http_connections", 'Open "now".', registry=others).set(2)
    latency = Histogram(
        ":tensorflow:serving:request_latency", "Latency.", registry=others, buckets=(10, 18)
    )
    latency.observe(11.5)
    assert render(tf_serving, others).decode() == (
        "# HELP :tensorflow:serving:request_count Requests.\n"
        "# TYPE :tensorflow:serving:request_count counter\n"
        ':tensorflow:serving:request_count{model_name="recall",status="OK"} 3.0\n'
        ':tensorflow:serving:request_count{model_name="a\\"b\\\\c\\nd_total",'
        'status="NOT_FOUND"} 1.0\n'
        "# HELP recall_answers_total Users answered.\n"
        "# TYPE recall_answers_total counter\n"
        "recall_answers_total 1e+09\n"
        '# HELP recall_http_connections Open "now".\n'
        "# TYPE recall_http_connections gauge\n"
        "recall_http_connections 2.0\n"
        "# HELP :tensorflow:serving:request_latency Latency.\n"
        "# TYPE :tensorflow:serving:request_latency histogram\n"
        ':tensorflow:serving:request_latency_bucket{le="10.0"} 0.0\n'
        ':tensorflow:serving:request_latency_bucket{le="18.0"} 1.0\n'
        ':tensorflow:serving:request_latency_bucket{le="+Inf"} 1.0\n'
        ":tensorflow:serving:request_latency_count 1.0\n"
        ":tensorflow:serving:request_latency_sum 11.5\n"
    )


def test_nothing_counted_yet():
    assert render(CollectorRegistry(), CollectorRegistry()) == b""
