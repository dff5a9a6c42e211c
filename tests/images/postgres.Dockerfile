# Stands in for the image postgres:16 where there is no registry: Debian's own PostgreSQL, which takes the same settings
# from the environment. It is not that image: an older version, no scripts of /docker-entrypoint-initdb.d, no upgrades.
ARG BASE=debian:bookworm-slim
FROM ${BASE}
RUN apt-get update -qq \
    && mkdir -p /etc/postgresql-common \
    && echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql >/dev/null \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
    && install --directory --owner postgres --group postgres --mode 0700 /var/lib/postgresql/data \
    && ln -sf /usr/lib/postgresql/*/bin/* /usr/local/bin/
COPY postgres_entrypoint.sh /usr/local/bin/
USER postgres
VOLUME /var/lib/postgresql/data
STOPSIGNAL SIGINT
ENTRYPOINT ["postgres_entrypoint.sh"]
